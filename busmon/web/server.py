"""The application on a socket: a thread for each connection, and a deadline for each."""

import logging
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException, LineTooLong
from io import BufferedReader, StringIO
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, TextIO
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication, WSGIEnvironment

from busmon.settings.models import Web
from busmon.text import format_address, parse_address
from busmon.web.tls import ServerTls

MAX_HEAD_BYTES = 65536  # the first line and the headers of a request
MAX_SECONDS = 10.0  # for handshake, request and answer of one connection
MAX_CONNECTIONS = 64

log = logging.getLogger(__name__)


class WebServer:
    """Serves `app` as `[web]` says.

    Listens as soon as it is made; raises OSError with a clear text if it cannot. A connection
    is closed after `max_seconds`. If there are more than `max_connections`, the oldest is
    closed, so that the health checks answer whatever others do.
    """

    def __init__(
        self,
        settings: Web,
        app: WSGIApplication,
        max_seconds: float = MAX_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        host, port = parse_address(settings.listen)
        tls = ServerTls(settings) if settings.certificate else None
        try:
            self._server = _Server(host, port, tls, max_seconds, max_connections)
        except (OSError, UnicodeError) as error:  # UnicodeError: not a possible host name
            reason = getattr(error, "strerror", None) or "no such host"
            raise OSError(f"cannot listen on {settings.listen}: {reason}") from error
        self._server.set_app(app)
        address = format_address(host, self._server.server_port)
        self.url = f"{'https' if tls else 'http'}://{address}"

    def run(self, stopping: threading.Event) -> None:
        """Answer until `stopping`, each connection in a thread of its own; then close them all."""
        with self._server:
            while not stopping.is_set():
                self._server.handle_request()
                self._server.close_older(time.monotonic())
        self._server.close_older(float("inf"))


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_port = False  # a second busmon on the same port is an error
    request_queue_size = 1024  # if the queue is full, clients wait a second and try again
    timeout = 0.25  # seconds that `handle_request` waits for a connection

    def __init__(
        self, host: str, port: int, tls: ServerTls | None, max_seconds: float, max_connections: int
    ) -> None:
        self._tls, self._max_seconds, self._max_connections = tls, max_seconds, max_connections
        self._deadlines: dict[socket.socket, float] = {}  # of open connections, oldest first
        self._changing = threading.Lock()
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, *_, address = found[0]
        super().__init__((str(address[0]), int(address[1])), _RequestHandler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would ask the DNS for a name that is not needed
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self._tls:
            connection = self._tls.wrap(connection)
        with self._changing:
            if len(self._deadlines) >= self._max_connections:
                oldest = next(iter(self._deadlines))
                del self._deadlines[oldest]
                _shut_down(oldest)
            self._deadlines[connection] = time.monotonic() + self._max_seconds
        return connection, address

    def close_older(self, moment: float) -> None:
        with self._changing:
            for connection, deadline in self._deadlines.items():
                if deadline > moment:
                    break
                _shut_down(connection)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if isinstance(request, ssl.SSLSocket):
            request.do_handshake()
        super().finish_request(request, client_address)

    def close_request(self, request: Any) -> None:
        with self._changing:
            self._deadlines.pop(request, None)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's
        lost = isinstance(sys.exception(), OSError | HTTPException)
        level = logging.DEBUG if lost else logging.ERROR
        log.log(level, "%s: connection ended by an error", client_address[0], exc_info=True)


def _shut_down(connection: socket.socket) -> None:
    """Wake the connection's thread, which then closes it. TLS's own shutdown would wait."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Reader(BufferedReader):
    """Reads a request. Its lines, which are the head, have one size limit together."""

    _left = MAX_HEAD_BYTES + 1

    def readline(self, size: int | None = -1, /) -> bytes:
        if not self._left:
            raise LineTooLong("head")
        line = super().readline(self._left if size is None or size < 0 else min(size, self._left))
        self._left -= len(line)
        return line


class _RequestHandler(WSGIRequestHandler):
    def setup(self) -> None:
        super().setup()
        self.rfile = _Reader(self.rfile.detach())

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        names = ("Content-Length", "Transfer-Encoding")
        if sum(len(self.headers.get_all(name, [])) for name in names) > 1:
            # A proxy in front may take the other length, and so another end of the request.
            self.send_error(HTTPStatus.BAD_REQUEST, "More than one length")
            return False
        return True

    def get_environ(self) -> WSGIEnvironment:
        certificate = isinstance(self.request, ssl.SSLSocket) and self.request.getpeercert()
        return super().get_environ() | {"SSL_CLIENT_VERIFY": "SUCCESS" if certificate else "NONE"}

    def get_stderr(self) -> TextIO:
        return StringIO()  # the application logs its own errors; all others are lost connections

    def version_string(self) -> str:
        return "busmon"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        log.debug("%s: %r", self.client_address[0], format % args)
