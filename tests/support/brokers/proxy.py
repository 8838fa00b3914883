"""A TCP proxy between a client and its broker, for the ways in which a network fails."""

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Self

from tests.support.brokers import wait_until

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST instead of FIN
BEAT = 0.02  # seconds until an order is seen
CHUNK = 65536  # bytes


class Proxy:
    """Listens on a free loopback port, and forwards to `target_port` unless a test stops it."""

    def __init__(self, target_port: int) -> None:
        self.accepted = 0  # connections so far
        self.round_trips = 0  # so far: how often a client sent something and then waited
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: dict[socket.socket, socket.socket] = {}
        self._pending: dict[socket.socket, bytes] = {}  # what still has to be sent to it
        self._held: list[socket.socket] = []  # accepted while swallowing, not forwarded yet
        self._stranded: list[socket.socket] = []  # clients that don't know of their end
        self._order: Callable[[], None] | None = None  # for the thread, which takes it off
        self._swallowing = self._closing = self._asked = False
        self._rate = 0  # bytes per second; 0: as fast as it goes
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Reset every connection there is; new ones are accepted."""
        self._do(self._reset_all)

    def end(self) -> None:
        """End every connection there is, as the kernel does for a broker that is killed."""
        self._do(self._end_all)

    def half_open(self) -> None:
        """Reset every connection towards the broker only, without the client's knowledge.

        What the client sends is dropped; new connections are accepted.
        """
        self._do(self._strand_all)

    def slow(self, bytes_per_second: int) -> None:
        """Forward no faster than this, both ways and all connections together."""
        self._rate = bytes_per_second

    def swallow(self) -> None:
        """Forward nothing, on old and new connections: a black hole."""
        self._swallowing = True

    def heal(self) -> None:
        """Forward again at full speed, first what was held back."""
        self._swallowing = False
        self._rate = 0

    def close(self) -> None:
        """Stop listening, and reset every connection."""
        self._closing = True
        self._thread.join()

    def _do(self, order: Callable[[], None]) -> None:
        self._order = order
        wait_until(lambda: not self._order, what="the proxy to follow its order")

    def _run(self) -> None:
        while not self._closing:
            if self._order:
                self._order()
                self._order = None
            if not self._swallowing:
                while self._held:
                    self._connect(self._held.pop())
            self._forward()
        self._reset_all()
        self._listener.close()

    def _forward(self) -> None:
        peers = {} if self._swallowing else self._peers
        sources = [sock for sock, peer in peers.items() if not self._pending[peer]]
        sinks = [sock for sock in peers if self._pending[sock]]
        sources += [self._listener, *self._stranded]
        readable, writable, _ = select.select(sources, sinks, [], BEAT)
        for sock in readable:
            if sock is self._listener:
                self._accept()
            elif sock in self._stranded:
                self._ignore(sock)
            elif sock in self._peers:
                self._read(sock)
        for sock in writable:
            if sock in self._peers:
                self._write(sock)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self.accepted += 1
        self._held.append(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            _reset(client)
            return
        self._peers |= {client: server, server: client}
        self._pending |= {client: b"", server: b""}
        client.setblocking(False)
        server.setblocking(False)

    def _read(self, sock: socket.socket) -> None:
        most = max(1, int(self._rate * BEAT)) if self._rate else CHUNK
        if data := _received(sock, most):
            self._pending[self._peers[sock]] = data
            of_client = sock.getsockname()[1] == self.port
            self.round_trips += of_client and not self._asked
            self._asked = of_client
            if self._rate:
                time.sleep(len(data) / self._rate)
        else:
            self._part(sock).close()

    def _ignore(self, client: socket.socket) -> None:
        if not _received(client, CHUNK):
            self._stranded.remove(client)
            client.close()

    def _write(self, sock: socket.socket) -> None:
        try:
            sent = sock.send(self._pending[sock])
        except OSError:
            self._part(sock).close()
        else:
            self._pending[sock] = self._pending[sock][sent:]

    def _part(self, sock: socket.socket) -> socket.socket:
        """Remove a pair of which one has ended; return the other, which is still open."""
        peer = self._peers.pop(sock)
        del self._peers[peer], self._pending[sock], self._pending[peer]
        sock.close()
        return peer

    def _end_all(self) -> None:
        while self._peers:
            self._part(next(iter(self._peers))).close()

    def _strand_all(self) -> None:
        clients, servers = list(self._peers)[::2], list(self._peers)[1::2]
        for server in servers:
            _reset(server)
        self._stranded += clients
        self._peers.clear()
        self._pending.clear()

    def _reset_all(self) -> None:
        for sock in [*self._peers, *self._held, *self._stranded]:
            _reset(sock)
        self._stranded.clear()
        self._peers.clear()
        self._pending.clear()
        self._held.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _received(sock: socket.socket, most: int) -> bytes:
    """Return what was received, or nothing if the connection has ended."""
    with contextlib.suppress(OSError):
        return sock.recv(most)
    return b""


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()
