"""The instance metadata service, version 2: a listener in the network namespace of each machine.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html
"""

from __future__ import annotations

import http.server
import secrets
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from standin.machines.metadata import Tree, read
from standin.machines.namespace_sockets import listen

ADDRESS = "169.254.169.254"
_PORT = 80
_MOST_SECONDS = 21_600
_TOKEN = "X-aws-ec2-metadata-token"
_TTL = "X-aws-ec2-metadata-token-ttl-seconds"


class MetadataService:
    """Answers one machine while it runs."""

    def __init__(self, namespace: Path, tree: Callable[[], Tree]) -> None:
        """Raises `OSError` when it cannot listen there."""
        self._server = _Server(namespace, tree)
        threading.Thread(target=self._server.serve_forever, name="metadata", daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, namespace: Path, tree: Callable[[], Tree]) -> None:
        super().__init__((ADDRESS, _PORT), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listen(namespace, ADDRESS, _PORT)
        self.server_name, self.server_port = ADDRESS, _PORT
        self.tree = tree
        #: When each token ends, on the monotonic clock.
        self.tokens: dict[str, float] = {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A machine that is switched off in the middle is not an error of ours."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    server_version = "EC2ws"
    sys_version = ""
    timeout = 60

    def do_PUT(self) -> None:
        """A token."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            seconds = int(self.headers.get(_TTL, ""))
        except ValueError:
            seconds = 0
        if not self.path.endswith("/api/token"):
            self._answer(HTTPStatus.NOT_FOUND)
        elif not 1 <= seconds <= _MOST_SECONDS:
            self._answer(HTTPStatus.BAD_REQUEST)
        else:
            token = secrets.token_urlsafe(40)
            self.server.tokens[token] = time.monotonic() + seconds
            self._answer(HTTPStatus.OK, token.encode(), {_TTL: str(seconds)})

    def do_GET(self) -> None:
        """Anything else, with a token."""
        if self.server.tokens.get(self.headers.get(_TOKEN, ""), 0) < time.monotonic():
            self._answer(HTTPStatus.UNAUTHORIZED)
            return
        # The first part is the version: `latest` or a date.
        _, _, path = self.path.partition("?")[0].lstrip("/").partition("/")
        found = read(self.server.tree(), path)
        self._answer(HTTPStatus.NOT_FOUND if found is None else HTTPStatus.OK, found or b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tokens are in there."""

    def _answer(self, status: HTTPStatus, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
