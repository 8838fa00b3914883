"""HTTP servers that never come to the end of an answer."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import repeat

HEAD = b"HTTP/1.1 200 OK\r\n"
# What is sent first, what is then repeated, and the seconds between two repetitions.
ENDLESS: dict[str, tuple[bytes, bytes, float]] = {
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0),
    "headers": (HEAD, b"X: " + b"x" * 60_000 + b"\r\n", 0),
    "headers of a continue": (b"HTTP/1.1 100 Continue\r\n", b"X: " + b"x" * 60_000 + b"\r\n", 0),
    "status line": (b"", b"H", 0),
    "slow status line": (b"", b"H", 0.05),
    "body": (HEAD + b"\r\n", b"x" * 1000, 0),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0),
    "slow continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
    "slow headers": (HEAD + b"X: ", b"x", 0.05),
    "slow body": (HEAD + b"Content-Length: 60000\r\n\r\n", b" ", 0.05),
    "silence": (b"", b"", 1),
}


@contextmanager
def endless(kind: str) -> Iterator[str]:
    """Serve such an answer to each request; yield the URL."""
    leaving = threading.Event()
    first, again, pause = ENDLESS[kind]

    def answer(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.recv(65536)
            client.sendall(first)
            for part in repeat(again):
                client.sendall(part)
                if leaving.wait(pause):
                    return

    def accept() -> None:
        while not leaving.is_set():
            with suppress(TimeoutError):
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            leaving.set()
            accepting.join()
