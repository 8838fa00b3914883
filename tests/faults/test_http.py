"""The web server of `busmon run` under attack: proper requests are answered all the same."""

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.attack import PUBLIC, ask, attacked, connected, raw, request
from tests.support.brokers.certificates import Certificates
from tests.support.busmon_process import Busmon

CROWD = 500  # connections


class Crowd:
    """Clients that send a byte at a time, and connect again whenever they are disconnected."""

    def __init__(self, connect: Callable[[], socket.socket], request: bytes) -> None:
        self.connections = 0
        self._connect, self._request = connect, request
        self._leaving = threading.Event()

    def _dribble(self) -> None:
        while not self._leaving.is_set():
            with suppress(OSError), self._connect() as client:
                self.connections += 1
                for byte in self._request:
                    if self._leaving.wait(random.uniform(0, 1)):
                        return
                    client.send(bytes([byte]))

    @contextmanager
    def pressing(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._dribble) for _ in range(CROWD)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._leaving.set()
            for thread in threads:
                thread.join()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_hundreds_of_slow_clients_keep_no_other_from_an_answer(
    tls: bool, tmp_path: Path, certificates: Certificates
) -> None:
    certificate, key = certificates.server
    web = {"certificate": certificate, "key": key} if tls else {}
    trust = certificates.trusting() if tls else None
    begun = b"\x16\x03\x01\x02\x00\x01" if tls else b"GET /metrics HTTP/1.1\r\nx: "
    with attacked(tmp_path, trust, **web) as busmon:
        crowd = Crowd(lambda: connected(busmon), begun + bytes(1000))
        with crowd.pressing():
            until = time.monotonic() + 1
            while time.monotonic() < until or crowd.connections < 2 * CROWD:
                for path in ("/live", "/ready", "/metrics"):
                    assert 200 in tries(busmon, path, trust), path
        assert ask(busmon, "/live", tls=trust) == 200


def tries(busmon: Busmon, path: str, trust: ssl.SSLContext | None) -> Iterator[int]:
    """Ask as often as a kubelet does before it gives up: the crowd may be newer than a try."""
    for _ in range(3):
        with suppress(OSError):  # busmon ended the oldest of all connections
            yield ask(busmon, path, tls=trust)


def test_a_burst_of_clients_leaves_no_thread_file_or_memory_behind(attacked_busmon: Busmon) -> None:
    def come(_: int) -> bytes:
        return raw(attacked_busmon, b"GET /live HTTP/1.0\r\n\r\n")

    with ThreadPoolExecutor(CROWD) as threads:
        answers = list(threads.map(come, range(CROWD)))
    assert {answer[-5:] for answer in answers} <= {b"live\n", b""}  # the oldest may be ended
    assert b"live\n" in {answer[-5:] for answer in answers}
    for path in PUBLIC:
        assert ask(attacked_busmon, path) == 200


HEAD = 64 * 1024  # bytes of a request's first line and headers


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (request(b"/live"), 200),
        (request(b"/%6cive"), 200),
        (request(b"/live?x"), 200),
        (request(b"//live"), 200),
        (request(b"/metrics"), 401),
        (request(b"/%6Detrics"), 401),
        (request(b"//metrics"), 401),
        (request(b"///metrics"), 401),
        (request(b"/metrics?/live"), 401),
        (request(b"/metrics/"), 401),
        (request(b"/METRICS"), 401),
        (request(b"/metrics%00"), 401),
        (request(b"/metrics%3fx"), 401),
        (request(b"/metrics#x"), 401),
        (request(b"/metrics;x"), 401),
        (request(b"/./metrics"), 401),
        (request(b"/../metrics"), 401),
        (request(b"/live/../metrics"), 401),
        (request(b"/live/%2e%2e/metrics"), 401),
        (request(b"/live%2f..%2fmetrics"), 401),
        (request(b"/..%5cmetrics"), 401),
        (request(b"/../../../../etc/passwd"), 401),
        (request(b"/%2e%2e/%2e%2e/etc/passwd"), 401),
        (request(b"/\xff"), 401),
        (request(b"/live\0"), 401),
        (request(b"http://x/live"), 200),
        (request(b"HTTPS://x:1/live?x"), 200),
        (request(b"http://x//live"), 200),
        (request(b"http://me@[::1]:1/live"), 200),
        (request(b"http:///live"), 200),
        (request(b"http://x"), 401),
        (request(b"http://x?y"), 401),
        (request(b"http://x/metrics"), 401),
        (request(b"http://x/http://x/live"), 401),
        (request(b"ftp://x/live"), 401),
        (request(b"*"), 401),
        (request(b"x:1", method=b"CONNECT"), 401),
        (request(b"/live", method=b"FLY"), 405),
        (request(b"/live", method=b"TRACE"), 405),
        (request(b"/metrics", method=b"POST"), 401),
        (request(b"/metrics", b"X-HTTP-Method-Override: DELETE"), 401),
        (request(b"/metrics", b"X-Original-URL: /live", b"X-Forwarded-For: 127.0.0.1"), 401),
        (request(b"/metrics", b"SSL-CLIENT-VERIFY: SUCCESS"), 401),
        (request(b"/live and more"), 400),
        (request(b"/live", *[b"x: y"] * 200), 431),
        (request(b"/live", b"x: " + HEAD * b"y"), 431),
        (request(b"/live", *[b"x: " + HEAD // 50 * b"y"] * 60), 431),
        (request(b"/" + HEAD * b"x"), 414),
        # What a proxy may read as two requests, and busmon as one
        (request(b"/live", b"Content-Length: 0", b"Content-Length: 9"), 400),
        (request(b"/live", b"Content-Length: 9", b"Transfer-Encoding: chunked"), 400),
        (request(b"/live", b"Transfer-Encoding: x", b"Transfer-Encoding: chunked"), 400),
    ],
)  # fmt: skip
def test_whatever_is_asked_has_an_answer_and_opens_nothing(
    attacked_busmon: Busmon, request_: bytes, status: int
) -> None:
    answer = raw(attacked_busmon, request_)
    assert answer.split()[1] == b"%d" % status
    assert b"busmon_" not in answer


def test_a_connection_has_one_answer_whatever_follows_the_request(attacked_busmon: Busmon) -> None:
    hidden = request(b"/live")
    for first in (
        request(b"/live"),
        request(b"/live", b"Content-Length: %d" % len(hidden)),
        request(b"/live", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        request(b"/v1/reports", b"Content-Length: 0", method=b"POST"),
    ):
        assert raw(attacked_busmon, first + hidden).count(b"HTTP/1.") == 1
