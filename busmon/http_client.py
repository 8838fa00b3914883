"""A client's HTTP connection with one deadline for everything, whatever the server sends.

The timeout of http.client starts again with each part that arrives. A server could keep a client
for ever with a byte a second, or busy with endless headers or `100 Continue`.
"""

import io
import socket
import ssl
import time
from http.client import HTTPConnection, HTTPException
from typing import Any, Self

MAX_ANSWER_BYTES = 64 * 1024  # the head included


class TimedConnection(HTTPConnection):
    """Use it in a `with` block. It ends `timeout` seconds after it began to connect.

    It follows no redirect and uses no proxy. More than `max_bytes` of an answer are an error.
    Raises OSError and HTTPException. Only the look-up of the host name can take longer, since
    nothing can interrupt it; then it is a timeout, too.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        timeout: float,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        super().__init__(host, port)
        self._tls = tls
        self._seconds = timeout
        self._max_bytes = max_bytes
        self._timed: _TimedSocket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timed:
            self._timed.socket.close()

    def connect(self) -> None:
        """Connect, with the handshake of TLS."""
        deadline = time.monotonic() + self._seconds
        connection = _connect(self.host, self.port, deadline)
        self._timed = self.sock = _TimedSocket(connection, deadline, self._max_bytes)
        if self._tls:
            connection.settimeout(_seconds_until(deadline))
            self._timed.socket = self._tls.wrap_socket(connection, server_hostname=self.host)

    def peer_certificate(self) -> bytes | None:
        """Return the server's certificate as DER; None without TLS."""
        connection = self._timed and self._timed.socket
        return connection.getpeercert(True) if isinstance(connection, ssl.SSLSocket) else None


class _TimedSocket(io.RawIOBase):
    """What http.client uses of a socket, and of the file that it makes of it."""

    def __init__(self, connection: socket.socket, deadline: float, max_bytes: int) -> None:
        self.socket = connection
        self._deadline = deadline
        self._bytes_left = max_bytes

    def sendall(self, content: bytes) -> None:
        self.socket.settimeout(_seconds_until(self._deadline))
        self.socket.sendall(content)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._bytes_left:
            raise HTTPException("the answer is too long")
        self.socket.settimeout(_seconds_until(self._deadline))
        received = self.socket.recv_into(memoryview(buffer)[: self._bytes_left])
        self._bytes_left -= received
        return received

    def close(self) -> None:
        """Do nothing: http.client closes its socket before it reads the answer."""


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    problem = OSError(f"{host} has no address")
    for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            numeric = str(address[0]), port
            return socket.create_connection(numeric, _seconds_until(deadline))
        except OSError as error:
            problem = error
    raise problem


def _seconds_until(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
