"""The application on a socket: a thread for each connection, and none may stay for long."""

import logging
import socket
import ssl
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.client import LineTooLong
from io import BufferedReader, StringIO
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, TextIO
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication, WSGIEnvironment

from busmon.settings.models import Web
from busmon.text import format_address, parse_address

MAX_HEAD_BYTES = 65536  # bytes of a request's first line and headers; a hundred of them at most

log = logging.getLogger(__name__)


class WebServer:
    """Serves `app` where and how `[web]` says.

    Listens from the start, and raises OSError with a clear text where it can't. A
    connection has `longest` seconds for its handshake, request and answer together; of
    more than `most` at a time the oldest is ended, so that the health checks answer
    whatever others do.
    """

    def __init__(
        self, settings: Web, app: WSGIApplication, longest: float = 10.0, most: int = 64
    ) -> None:
        host, port = parse_address(settings.listen)
        tls = _Tls(settings) if settings.certificate else None
        try:
            self._server = _Server(host, port, tls, longest, most)
        except (OSError, UnicodeError) as error:  # UnicodeError: of a name that none can have
            reason = getattr(error, "strerror", None) or "no such host"
            raise OSError(f"can't listen on {settings.listen}: {reason}") from error
        self._server.set_app(app)
        address = format_address(host, self._server.server_port)
        self.url = f"{'https' if tls else 'http'}://{address}"

    def run(self, stopping: threading.Event) -> None:
        """Answer, in a thread for each connection, until `stopping`; then end them all."""
        with self._server:
            while not stopping.is_set():
                self._server.handle_request()
                self._server.end_older(time.monotonic())
        self._server.end_older(float("inf"))


class _Tls:
    """The server's side of TLS, read anew when its files are renewed."""

    def __init__(self, settings: Web) -> None:
        self._certificate, self._key = settings.certificate, settings.key
        self._client_ca = settings.client_ca
        self._files = [file for file in (self._certificate, self._key, self._client_ca) if file]
        self._version = self._modified()
        self._context = self._read()

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Return the connection with TLS around it, its handshake yet to be done."""
        try:
            self._renew()
        except OSError as error:  # one file written and the other not yet: try again
            log.warning("still using the old certificate: %s", error)
        return self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )

    def _renew(self) -> None:
        version = self._modified()
        if version != self._version:
            self._context = self._read()
            self._version = version
            log.info("read the renewed certificate %s", self._certificate)

    def _modified(self) -> list[int]:
        return [file.stat().st_mtime_ns for file in self._files]

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # The password of no key: without one, OpenSSL would ask the terminal for it.
            context.load_cert_chain(str(self._certificate), self._key, password="")
            if self._client_ca:
                context.load_verify_locations(self._client_ca)
                context.verify_mode = ssl.CERT_OPTIONAL
        except OSError as error:
            reason = getattr(error, "reason", None) or error.strerror
            names = ", ".join(str(file) for file in self._files)
            raise OSError(f"can't serve TLS with {names}: {reason}") from error
        return context


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_port = False  # a second busmon on the same port is to be told
    request_queue_size = 1024  # a crowd would have others wait a second for the next try
    timeout = 0.25  # seconds that `handle_request` waits for a connection

    def __init__(self, host: str, port: int, tls: _Tls | None, longest: float, most: int) -> None:
        self._tls, self._longest, self._most = tls, longest, most
        self._deadlines: dict[socket.socket, float] = {}  # of the open connections, oldest first
        self._changing = threading.Lock()
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, *_, address = found[0]
        super().__init__((str(address[0]), int(address[1])), _RequestHandler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's asks the DNS for a name that nobody needs
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self._tls:
            connection = self._tls.wrap(connection)
        with self._changing:
            if len(self._deadlines) >= self._most:
                oldest = next(iter(self._deadlines))
                del self._deadlines[oldest]
                _end(oldest)
            self._deadlines[connection] = time.monotonic() + self._longest
        return connection, address

    def end_older(self, moment: float) -> None:
        with self._changing:
            for connection, deadline in self._deadlines.items():
                if deadline > moment:
                    break
                _end(connection)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if isinstance(request, ssl.SSLSocket):
            request.do_handshake()
        super().finish_request(request, client_address)

    def close_request(self, request: Any) -> None:
        with self._changing:
            self._deadlines.pop(request, None)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's
        log.debug("%s: connection lost", client_address[0], exc_info=True)


def _end(connection: socket.socket) -> None:
    """Wake the connection's thread, which then closes it. TLS has no say: it would wait."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Reader(BufferedReader):
    """What a client sends. Its lines, which are the head of a request, have a limit together."""

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
            # A proxy before us may take another end of the request for the right one.
            self.send_error(HTTPStatus.BAD_REQUEST, "More than one length")
            return False
        return True

    def get_environ(self) -> WSGIEnvironment:
        certificate = isinstance(self.request, ssl.SSLSocket) and self.request.getpeercert()
        return super().get_environ() | {"SSL_CLIENT_VERIFY": "SUCCESS" if certificate else "NONE"}

    def get_stderr(self) -> TextIO:
        return StringIO()  # the application logs its errors itself; the rest are lost clients

    def version_string(self) -> str:
        return "busmon"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        log.debug("%s: %r", self.client_address[0], format % args)
