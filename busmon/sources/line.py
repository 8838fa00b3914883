"""A connection to a broker as one thread drives it: the socket, TLS, and why it failed.

The libraries' own sockets hide the reason of a failure, read from a second thread, or wait
without end. Here each wait has an end, and the thread that reads also judges, records and
acknowledges, so that nothing of one bus can hold up another.
"""

import os
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from busmon.sources.base import Cause, Disconnected
from busmon.text import format_address

CONNECT_TIMEOUT = 4.0  # seconds for TCP, and for TLS
STOP_CHECK_SECONDS = 0.25  # between two looks whether to stop
CHUNK_BYTES = 64 * 1024  # read at once; 256 KiB are not faster, but 1.5 MiB more for three buses
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
OTHER_NAME = {62, 64}  # OpenSSL's codes for a host's name and address that do not match
FRAME_TIMEOUT = 120.0  # seconds in which a frame, once begun, has to be complete
KEEPALIVE_PROBES = 3  # that may fail before the kernel gives the connection up


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where to connect, with TLS if there is a context, and which settings say so."""

    host: str
    port: int
    context: ssl.SSLContext | None = None
    address_setting: str
    ca_setting: str = "ca"
    certificate_setting: str = "certificate and key"

    def __str__(self) -> str:
        return format_address(self.host, self.port)


class Line:
    """A connected socket that one thread reads and writes.

    `silence_limit` is how many seconds the broker may send nothing, or take nothing that is sent.
    After the end of the connection `failure` says why, or is None if the broker closed it in order.
    """

    def __init__(self, broker: Broker, stopping: threading.Event) -> None:
        """Connect; raises Disconnected, also if `stopping` is set meanwhile.

        Only the look-up of the host name cannot be interrupted.
        """
        self._broker = broker
        self.silence_limit = CONNECT_TIMEOUT
        self._is_probed = False  # by the kernel
        self.failure: OSError | None = None
        self._socket = _connect(broker, stopping)
        self._buffer = memoryview(bytearray(CHUNK_BYTES))
        self._late_error: OSError | None = None  # came after what was read
        self._last_received = self._last_complete = time.monotonic()

    def read(self, seconds: float) -> bytes | None:
        """Return what has come or comes within that time, b"" at the end of the connection."""
        try:
            received = self._receive()
            if received is None and _ready(self._socket, select.POLLIN, seconds):
                received = self._receive()
        except OSError as error:
            self.failure = error  # of TLS it says more than that of a write before
            return b""
        if received is not None:
            self._last_received = time.monotonic()
        elif self._is_silent():
            self.failure = TimeoutError()
            return b""
        return received

    def note_progress(self, *, complete: bool) -> None:
        """Note that a frame was completed, or none has begun; raises Disconnected if never."""
        if complete:
            self._last_complete = time.monotonic()
        elif time.monotonic() - self._last_complete > FRAME_TIMEOUT:
            reason = f"{self._broker}: a message is not complete within {FRAME_TIMEOUT:g} s"
            raise Disconnected(Cause.SILENT, reason)

    def sendall(self, data: bytes) -> None:
        """Send all of it; raises OSError if the connection is lost."""
        rest = memoryview(data)
        try:
            while rest:
                try:
                    rest = rest[self._socket.send(rest) :]
                except WOULD_BLOCK:
                    if not _ready(self._socket, select.POLLOUT, self.silence_limit):
                        raise TimeoutError from None
        except OSError as error:
            self.failure = self.failure or error
            raise

    def lost(self) -> Disconnected:
        """Return why the connection has ended, and what to check."""
        return _disconnected(self.failure, self._broker)

    def keep_alive(self, seconds: int) -> None:
        """Let the kernel probe the connection, so that the broker may send nothing for any time.

        This is for brokers without heartbeats.
        """
        self._is_probed = True
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        probes = ("IDLE", seconds), ("INTVL", seconds), ("CNT", KEEPALIVE_PROBES)
        for name, value in probes:
            if option := getattr(socket, f"TCP_KEEP{name}", None):  # not on every system
                self._socket.setsockopt(socket.IPPROTO_TCP, option, value)

    def hang_up(self, seconds: float) -> None:
        """Let the broker close the connection.

        Closing a socket with unread data resets the connection, and the broker might never
        see the last acknowledgements.
        """
        deadline = time.monotonic() + seconds
        with suppress(OSError):
            # Not SSLSocket's own method, which would go on without encryption.
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0 and self.read(left) != b"":
                pass

    def close(self) -> None:
        """Close the socket at once."""
        self._socket.close()

    def _receive(self) -> bytes | None:
        if self._late_error:
            raise self._late_error
        filled = 0
        try:
            while filled < CHUNK_BYTES:
                received = self._socket.recv_into(self._buffer[filled:])
                filled += received
                if not received or not self._broker.context:  # TLS gives 16 KiB at a time
                    return bytes(self._buffer[:filled])
        except WOULD_BLOCK:
            pass
        except OSError as error:
            if not filled:
                raise
            self._late_error = error
        return bytes(self._buffer[:filled]) if filled else None

    def _is_silent(self) -> bool:
        silence = time.monotonic() - self._last_received
        return silence > self.silence_limit and not self._is_probed


def _connect(broker: Broker, stopping: threading.Event) -> socket.socket:
    try:
        sock = _connect_tcp(broker, stopping)
    except OSError as error:
        raise _disconnected(error, broker) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not broker.context:
        return sock
    try:
        return _encrypted(sock, broker.context, broker.host, stopping)
    except OSError as error:
        failure = _disconnected(error, broker)
        if failure.cause is Cause.TLS:
            raise failure from error
        cause = Cause.SILENT if failure.cause is Cause.SILENT else Cause.TLS
        detail = f"{failure.detail} in the TLS handshake: check that the port speaks TLS"
        raise Disconnected(cause, detail) from error


def _connect_tcp(broker: Broker, stopping: threading.Event) -> socket.socket:
    """Connect to the first address that answers; raises OSError, of the first one if none does."""
    failures = []
    for family, kind, protocol, _, address in socket.getaddrinfo(
        broker.host, broker.port, type=socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            with suppress(BlockingIOError):
                sock.connect(address)
            _await(sock, select.POLLOUT, time.monotonic() + CONNECT_TIMEOUT, stopping)
            if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(number, os.strerror(number))
        except OSError as failure:
            sock.close()
            failures.append(failure)
        else:
            return sock
    raise failures[0]


def _encrypted(
    sock: socket.socket, context: ssl.SSLContext, host: str, stopping: threading.Event
) -> ssl.SSLSocket:
    """Begin TLS; raises OSError, also if the connection has ended already."""
    secure = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        _shake_hands(secure, stopping)
    except OSError:
        secure.close()
        raise
    return secure


def _shake_hands(secure: ssl.SSLSocket, stopping: threading.Event) -> None:
    deadline = time.monotonic() + CONNECT_TIMEOUT
    while True:
        try:
            return secure.do_handshake()
        except ssl.SSLWantReadError:
            event = select.POLLIN
        except ssl.SSLWantWriteError:
            event = select.POLLOUT
        _await(secure, event, deadline, stopping)


def _await(sock: socket.socket, event: int, deadline: float, stopping: threading.Event) -> None:
    """Wait for the event; raises TimeoutError at the deadline, or when stopping."""
    while not _ready(sock, event, STOP_CHECK_SECONDS):
        if stopping.is_set() or time.monotonic() > deadline:
            raise TimeoutError


def _ready(sock: socket.socket, event: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(seconds * 1000))


def _disconnected(error: OSError | None, broker: Broker) -> Disconnected:
    """Return what an error of the socket means; None: the broker closed the connection."""
    cause, reason = _explained(error, broker)
    return Disconnected(cause, f"{broker}: {reason}")


def _explained(error: OSError | None, broker: Broker) -> tuple[Cause, str]:
    if error is None or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Cause.NETWORK, "closed by the broker"
    if isinstance(error, ssl.SSLCertVerificationError):
        other = error.verify_code in OTHER_NAME
        what = "for another host" if other else "not trusted"
        setting = broker.address_setting if other else broker.ca_setting
        reason = f"the broker's certificate is {what}: check {setting} ({error.verify_message})"
        return Cause.TLS, reason
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).lower().replace("_", " ")
        check = broker.certificate_setting if "alert" in reason else "that the port speaks TLS"
        return Cause.TLS, f"TLS failed: check {check} ({reason})"
    if isinstance(error, TimeoutError):
        return Cause.SILENT, "no answer"
    reason = error.strerror or str(error)
    if isinstance(error, socket.gaierror):
        reason = f"unknown host: check {broker.address_setting} ({reason})"
    return Cause.NETWORK, reason
