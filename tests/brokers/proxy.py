"""A TCP proxy between a client and its broker, for the ways in which a network fails."""

import contextlib
import select
import socket
import struct
import threading
from typing import Self

from tests.brokers import wait_until

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST instead of FIN
BEAT = 0.02  # seconds until an order is seen
CHUNK = 65536  # bytes


class Proxy:
    """Listens on a free loopback port and forwards to `target_port` until told otherwise."""

    def __init__(self, target_port: int) -> None:
        self.accepted = 0  # connections so far
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: dict[socket.socket, socket.socket] = {}
        self._pending: dict[socket.socket, bytes] = {}  # what still has to be sent to it
        self._held: list[socket.socket] = []  # accepted while swallowing, not forwarded yet
        self._cutting = self._swallowing = self._closing = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Reset every connection there is; new ones are accepted."""
        self._cutting = True
        wait_until(lambda: not self._cutting, what="the proxy to cut its connections")

    def swallow(self) -> None:
        """Forward nothing, on old connections and new: a black hole."""
        self._swallowing = True

    def heal(self) -> None:
        """Forward again, what was held back first."""
        self._swallowing = False

    def close(self) -> None:
        """Stop listening, and reset every connection."""
        self._closing = True
        self._thread.join()

    def _run(self) -> None:
        while not self._closing:
            if self._cutting:
                self._reset_all()
                self._cutting = False
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
        readable, writable, _ = select.select([self._listener, *sources], sinks, [], BEAT)
        for sock in readable:
            if sock is self._listener:
                self._accept()
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
        try:
            data = sock.recv(CHUNK)
        except OSError:
            data = b""
        if data:
            self._pending[self._peers[sock]] = data
        else:
            self._part(sock).close()

    def _write(self, sock: socket.socket) -> None:
        try:
            sent = sock.send(self._pending[sock])
        except OSError:
            self._part(sock).close()
        else:
            self._pending[sock] = self._pending[sock][sent:]

    def _part(self, sock: socket.socket) -> socket.socket:
        """Forget a pair of which one has ended; return the other, which is still open."""
        peer = self._peers.pop(sock)
        del self._peers[peer], self._pending[sock], self._pending[peer]
        sock.close()
        return peer

    def _reset_all(self) -> None:
        for sock in [*self._peers, *self._held]:
            _reset(sock)
        self._peers.clear()
        self._pending.clear()
        self._held.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()
