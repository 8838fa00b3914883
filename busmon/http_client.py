"""A client's HTTP connection with one deadline for everything, whatever the server sends.

The timeout of http.client starts again with each part that arrives. A server could keep a client
for ever with a byte a second, or busy with endless headers or `100 Continue`.
"""

import io
import socket
import ssl
import time
from contextlib import suppress
from http import HTTPStatus
from http.client import (
    BadStatusLine,
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    RemoteDisconnected,
    UnknownProtocol,
)
from typing import Any, Self, cast

MAX_ANSWER_BYTES = 64 * 1024  # the head included


class AnswerTooLong(HTTPException):
    """The answer has more bytes than were allowed."""


class _Response(HTTPResponse):
    """An answer whose errors do not have in them what the server sent."""

    def begin(self) -> None:
        try:
            super().begin()
        except RemoteDisconnected:
            raise
        except (BadStatusLine, UnknownProtocol) as error:
            raise HTTPException("the server does not answer in HTTP") from error


class TimedConnection(HTTPConnection):
    """Use it in a `with` block. It ends `timeout` seconds after it began to connect.

    It follows no redirect, and uses no proxy, unless there is a `tunnel`: host and port of a
    proxy that connects it with the server. More than `max_bytes` of an answer raise
    AnswerTooLong. Raises OSError and HTTPException. Only the look-up of the host name can take
    longer, since nothing can interrupt it; then it is a timeout, too.
    """

    response_class = _Response
    tunnel: tuple[str, int] | None = None

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
        connection = _connect(*(self.tunnel or (self.host, self.port)), deadline)
        self._timed = self.sock = _TimedSocket(connection, deadline, self._max_bytes)
        if self.tunnel:
            self._open_tunnel(self._timed)
        if self._tls:
            connection.settimeout(_seconds_until(deadline))
            self._timed.socket = self._tls.wrap_socket(connection, server_hostname=self.host)

    def _open_tunnel(self, proxy: "_TimedSocket") -> None:
        server = f"[{self.host}]" if ":" in self.host else self.host
        target = f"{server}:{self.port}"
        proxy.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode("ascii"))
        # It uses nothing but `makefile` of its socket.
        answer = _Response(cast(socket.socket, proxy), method="CONNECT")
        answer.begin()
        if answer.status != HTTPStatus.OK:
            raise HTTPException(f"the proxy answers with status {answer.status}")

    def abort(self) -> None:
        """End it, from any thread: who waits for the server has an error at once."""
        if self._timed:
            with suppress(OSError):  # it has ended
                self._timed.socket.shutdown(socket.SHUT_RDWR)

    def peer_certificate(self) -> bytes | None:
        """Return the server's certificate as DER; None without TLS."""
        connection = self._timed and self._timed.socket
        return connection.getpeercert(True) if isinstance(connection, ssl.SSLSocket) else None


class _TimedSocket(io.RawIOBase):
    """What http.client uses of a socket, and of the file that it makes of it."""

    def __init__(self, connection: socket.socket, deadline: float, max_bytes: int) -> None:
        self.socket = connection
        self._deadline = deadline
        self._max_bytes = self._bytes_left = max_bytes

    def sendall(self, content: bytes) -> None:
        self.socket.settimeout(_seconds_until(self._deadline))
        self.socket.sendall(content)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return _Reader(self, self._max_bytes)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._bytes_left:
            raise AnswerTooLong("the answer is too long")
        self.socket.settimeout(_seconds_until(self._deadline))
        received = self.socket.recv_into(memoryview(buffer)[: self._bytes_left])
        self._bytes_left -= received
        return received

    def close(self) -> None:
        """Do nothing: http.client closes its socket before it reads the answer."""


class _Reader(io.BufferedReader):
    """Reserves no memory for more than may come, whatever length the server announces."""

    def __init__(self, raw: io.RawIOBase, max_bytes: int) -> None:
        super().__init__(raw)
        self._max_bytes = max_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._max_bytes:
            raise AnswerTooLong("the answer is too long")
        return super().read(size)


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
