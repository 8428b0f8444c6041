"""The HTTP server: a thread a connection, keep-alive, one write an answer.

werkzeug's own handler closes each connection after one answer, which SDKs that pool connections turn into retries, and
it cannot close one without an answer, which a lost response needs. So the exchange is done here.
"""

from __future__ import annotations

import socket
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import BaseWSGIServer

from standin.app import Application
from standin.errors import ConnectionCut


class Handler(MotoRequestHandler):
    """Answers the requests of one connection, one after the other."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    #: An idle connection is closed after this many seconds.
    timeout = 600

    def run_wsgi(self) -> None:
        """One exchange."""
        if self.headers.get("Expect", "").lower().strip() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        environ = self.make_environ()
        if environ.get("wsgi.input_terminated"):
            environ["standin.body"] = environ["wsgi.input"].read()
        else:
            environ["standin.body"] = self.rfile.read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["standin.from_internet"] = self.server.is_on_internet
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
            started.append((status, headers))

        try:
            chunks = self.server.app(environ, start_response)
        except ConnectionCut:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(*started[0], b"".join(chunks))

    def _send(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        code = int(status.split()[0])
        bodiless = self.command == "HEAD" or code in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        lines = [f"HTTP/1.1 {status}", f"Server: {self.server_version}", f"Date: {self.date_time_string()}"]
        skipped = {"connection", "date", "server", "transfer-encoding"}
        if not bodiless:
            skipped.add("content-length")
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{key}: {value}" for key, value in headers if key.lower() not in skipped]
        head = "\r\n".join(lines) + "\r\n\r\n"
        self.wfile.write(head.encode("latin-1") + (b"" if bodiless else body))

    def log(self, type: str, message: str, *args: Any) -> None:
        """Requests are recorded elsewhere."""


class Server(ThreadingMixIn, BaseWSGIServer):
    """Listens on loopback, for whoever is on this computer, or on the address that machines have for the internet."""

    daemon_threads = True
    request_queue_size = 512
    multithread = True

    def __init__(self, port: int, app: Application, internet: str | None = None) -> None:
        self.is_on_internet = internet is not None
        super().__init__(internet or "127.0.0.1", port, app, handler=Handler)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is not an error of ours."""
