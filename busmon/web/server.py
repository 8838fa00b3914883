"""The application on a socket: a thread for each connection, and a deadline for each."""

import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from http.client import HTTPException
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIServer
from wsgiref.types import WSGIApplication

from prometheus_client.core import Metric

from busmon.metrics.families import counter
from busmon.settings.models import Web
from busmon.text import format_address, parse_address
from busmon.threads import ThreadDied, Threads
from busmon.web.request import RequestHandler
from busmon.web.tls import ServerTls

MAX_SECONDS = 10.0  # for handshake, request and answer of one connection
MAX_CONNECTIONS = 64
MAX_THREADS = 160  # of open connections, and of closed ones that still wait for their answer
STOP_TIMEOUT = 0.5  # seconds

log = logging.getLogger(__name__)


class WebServer:
    """Serves an application, or one after the other, as `[web]` says.

    Listens as soon as it is made; raises OSError with a clear text if it cannot. A connection
    is closed after `max_seconds`. If there are more than `max_connections`, the oldest is
    closed, so that the health checks answer whatever others do.
    `closed` counts both.
    """

    def __init__(
        self,
        settings: Web,
        max_seconds: float = MAX_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.closed = ClosedConnections()
        host, port = parse_address(settings.listen)
        tls = ServerTls(settings) if settings.certificate else None
        try:
            limits = _Limits(max_seconds, max_connections, self.closed)
            self._server = _Server(host, port, tls, limits)
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"cannot listen on {settings.listen}: {reason}") from error
        address = format_address(host, self._server.server_port)
        self.url = f"{'https' if tls else 'http'}://{address}"

    @contextmanager
    def serving(self, app: WSGIApplication, on_death: threading.Event) -> Iterator[None]:
        """Serve `app` meanwhile. If the thread dies, set `on_death`; raise ThreadDied at the end.

        Within another `serving` it takes the place of its application, until another one does.
        """
        outer = self._server.get_app()
        self.show(app)
        with nullcontext() if outer else self._running(on_death):
            yield

    def show(self, app: WSGIApplication) -> None:
        """Answer each request from now on with another application."""
        self._server.set_app(app)

    @contextmanager
    def _running(self, on_death: threading.Event) -> Iterator[None]:
        threads = Threads()
        threads.add("web", self._run)
        threads.start(on_death)
        log.info("listening on %s", self.url)
        try:
            yield
        finally:
            threads.stop(STOP_TIMEOUT)
        if died := threads.problem():
            raise ThreadDied(f"{died}; the log has the traceback")

    def _run(self, stopping: threading.Event) -> None:
        """Answer until `stopping`, each connection in a thread of its own; then close them all."""
        with self._server:
            while not stopping.is_set():
                self._server.handle_request()
                self._server.close_slow()
        self._server.close_all()


class ClosedConnections:
    """A collector of the connections that were closed before their answer."""

    def __init__(self) -> None:
        self.numbers = {"crowded": 0, "slow": 0}  # written by the server's own thread only

    def collect(self) -> Iterator[Metric]:
        """Yield how many there were since the start, by reason."""
        yield counter(
            "busmon_web_closed_connections_total",
            "Connections that the web server closed before their answer, by reason.",
            ["reason"],
            (((reason,), number) for reason, number in self.numbers.items()),
        )


@dataclass(frozen=True, slots=True)
class _Limits:
    seconds: float  # for one connection
    connections: int
    closed: ClosedConnections


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_port = False  # a second busmon on the same port is an error
    request_queue_size = 1024  # if the queue is full, clients wait a second and try again
    timeout = 0.25  # seconds that `handle_request` waits for a connection

    def __init__(self, host: str, port: int, tls: ServerTls | None, limits: _Limits) -> None:
        self._tls, self._limits = tls, limits
        self._thread_slots = threading.Semaphore(MAX_THREADS)
        self._deadlines: dict[socket.socket, float] = {}  # of open connections, oldest first
        self._changing = threading.Lock()
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, *_, address = found[0]
        super().__init__((str(address[0]), int(address[1])), RequestHandler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would ask the DNS for a name that is not needed
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self._tls:
            connection = self._tls.wrap(connection)
        with self._changing:
            if len(self._deadlines) >= self._limits.connections:
                self._close(next(iter(self._deadlines)), "crowded")
            self._deadlines[connection] = time.monotonic() + self._limits.seconds
        return connection, address

    def close_slow(self) -> None:
        """Close the connections that have had their time."""
        now = time.monotonic()
        with self._changing:
            for connection in [c for c, deadline in self._deadlines.items() if deadline <= now]:
                self._close(connection, "slow")

    def close_all(self) -> None:
        """Close all connections, since the server ends."""
        with self._changing:
            for connection in self._deadlines:
                _shut_down(connection)

    def _close(self, connection: socket.socket, reason: str) -> None:
        del self._deadlines[connection]
        _shut_down(connection)
        self._limits.closed.numbers[reason] += 1

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for the request; while there are too many, wait for the end of one."""
        while not self._thread_slots.acquire(timeout=self.timeout):
            self.close_slow()
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._thread_slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """See ThreadingMixIn."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._thread_slots.release()

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
