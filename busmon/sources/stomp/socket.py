"""The socket under STOMP: made here, so that the operator learns why where it fails.

stomp.py can make one itself, but hides the reason of a failure; over TLS it spins at
full CPU once the broker has closed, and waits for ever for a silent broker's goodbye.
"""

import select
import socket
import ssl
import threading
import time
from contextlib import suppress

from busmon.sources.base import Cause, Disconnected

CONNECT_TIMEOUT = (
    4.0  # seconds to connect in, which nothing can interrupt; less than a stop may take
)
CHUNK = 256 * 1024  # bytes read at once
WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class StompSocket:
    """A connected socket: one thread reads and writes, and another one writes heart-beats.

    Two threads in one TLS object at once would break it, hence the lock, which nobody
    holds while waiting. `patience` is how long the broker may be silent, in seconds; None:
    for ever. After the end, `failure` says why, None where the broker closed in order.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.patience: float | None = None
        self.failure: OSError | None = None
        self._sock = sock
        self._lock = threading.Lock()
        self._closed = False
        self._heard = time.monotonic()
        sock.setblocking(False)

    def read(self, seconds: float) -> bytes | None:
        """Return what has come or comes within that time, b"" at the end of the connection."""
        try:
            received = self._receive()
            if received is None and self._ready(select.POLLIN, seconds):
                received = self._receive()
        except OSError as error:
            self.failure = error
            return b""
        if received is not None:
            self._heard = time.monotonic()
        elif self.patience is not None and time.monotonic() - self._heard > self.patience:
            self.failure = TimeoutError()
            return b""
        return received

    def _receive(self) -> bytes | None:
        try:
            with self._lock:
                return b"" if self._closed else self._sock.recv(CHUNK)
        except WAIT:
            return None

    def sendall(self, data: bytes) -> None:
        """Send all of it; OSError where that can't be done."""
        rest = memoryview(data)
        try:
            while rest:
                try:
                    with self._lock:
                        rest = rest[self._sock.send(rest) :]
                except WAIT:
                    if not self._ready(select.POLLOUT, self.patience):
                        raise TimeoutError from None
        except OSError as error:
            self.failure = self.failure or error
            raise

    def _ready(self, event: int, seconds: float | None) -> bool:
        poll = select.poll()
        poll.register(self._sock, event)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def getsockname(self) -> tuple[str, int]:
        """Return the own address; stomp.py asks for it to see whether the socket lives."""
        name: tuple[str, int] = self._sock.getsockname()
        return name

    def keep_alive(self, seconds: int) -> None:
        """Let the kernel ask for life after so long a silence; three failures are the end."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("IDLE", seconds), ("INTVL", seconds), ("CNT", 3)):
            if option := getattr(socket, f"TCP_KEEP{name}", None):  # not on every system
                self._sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def shutdown(self, _how: int = socket.SHUT_RDWR) -> None:
        """End the connection."""
        with self._lock:
            if not self._closed:
                self._closed = True
                with suppress(OSError):  # the broker was first
                    # Not SSLSocket's own, which would go on without encryption.
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection, and give the descriptor back."""
        self.shutdown()
        self._sock.close()


def open_socket(host: str, port: int, context: ssl.SSLContext | None) -> StompSocket:
    """Connect, with TLS where there is a context; raises Disconnected with what to check."""
    try:
        sock = socket.create_connection((host, port), CONNECT_TIMEOUT)
    except OSError as error:
        raise disconnected(error) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not context:
        return StompSocket(sock)
    try:
        return StompSocket(context.wrap_socket(sock, server_hostname=host))
    except OSError as error:
        sock.close()
        failure = disconnected(error)
        if failure.cause is Cause.TLS:
            raise failure from error
        cause = Cause.SILENT if failure.cause is Cause.SILENT else Cause.TLS
        check = "in the TLS handshake; check that the port speaks TLS"
        raise Disconnected(cause, f"{failure.detail} {check}") from error


def disconnected(error: OSError) -> Disconnected:
    """Return the failure of a socket as its cause and what to check."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"the broker's certificate is not accepted ({error.verify_message})"
        return Disconnected(Cause.TLS, f"{why}; check ca and the host's name in brokers")
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return Disconnected(Cause.NETWORK, "closed by the broker")
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).lower().replace("_", " ")
        check = "certificate and key" if "alert" in reason else "that the port speaks TLS"
        return Disconnected(Cause.TLS, f"TLS failed ({reason}); check {check}")
    if isinstance(error, TimeoutError):
        return Disconnected(Cause.SILENT, "no answer")
    return Disconnected(Cause.NETWORK, error.strerror or str(error))
