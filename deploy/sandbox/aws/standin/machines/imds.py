"""The instance metadata service, version 2: a listener at the router of each VPC, which knows machines by address.

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
_POLL_SECONDS = 0.1
_MOST_SECONDS = 21_600
_TOKEN = "X-aws-ec2-metadata-token"
_TTL = "X-aws-ec2-metadata-token-ttl-seconds"


class MetadataService:
    """Answers the machines of one VPC."""

    def __init__(self, namespace: Path) -> None:
        """Raises `OSError` when it cannot listen there, where its address must be."""
        self._server = _Server(namespace)
        threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), name="metadata", daemon=True).start()

    def answer(self, address: str, tree: Callable[[], Tree]) -> None:
        """Knows a machine from now on."""
        self._server.trees[address] = tree

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, namespace: Path) -> None:
        super().__init__((ADDRESS, _PORT), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listen(namespace, ADDRESS, _PORT)
        self.server_name, self.server_port = ADDRESS, _PORT
        #: By a machine's address.
        self.trees: dict[str, Callable[[], Tree]] = {}
        #: When each token ends, on the monotonic clock, by the address that it was given to and the token.
        self.tokens: dict[tuple[str, str], float] = {}

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
            self.server.tokens[self.client_address[0], token] = time.monotonic() + seconds
            self._answer(HTTPStatus.OK, token.encode(), {_TTL: str(seconds)})

    def do_GET(self) -> None:
        """Anything else, with a token."""
        address = self.client_address[0]
        tree = self.server.trees.get(address)
        if self.server.tokens.get((address, self.headers.get(_TOKEN, "")), 0) < time.monotonic() or tree is None:
            self._answer(HTTPStatus.UNAUTHORIZED)
            return
        # The first part is the version: `latest` or a date.
        _, _, path = self.path.partition("?")[0].lstrip("/").partition("/")
        found = read(tree(), path)
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
