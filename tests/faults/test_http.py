"""The web server of `busmon run` under attack: proper requests are answered all the same."""

import json
import random
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from tests.samples import FEDORA_FILE
from tests.support.brokers import wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.busmon_process import Busmon
from tests.support.sockets import rest
from tests.support.tap_reports import batch, report

TOKEN, REPORTS = "of-the-scraper", "of-the-tap"
BUSES = {"fedora": {"type": "replay", "rules": "packit", "files": [str(FEDORA_FILE)]}}
PUBLIC = ("/live", "/-/healthy", "/ready", "/-/ready")
PRIVATE = ("/metrics", "/metrics?name[]=busmon_build_info", "/v1/status", "/")
CROWD = 500  # connections
HANG = 5.0  # seconds that an answer may take


@contextmanager
def attacked(directory: Path, tls: ssl.SSLContext | None = None, **web: Any) -> Iterator[Busmon]:
    """Run a busmon that takes reports, with more settings in [web], until it is ready.

    `tls` is needed if it serves TLS.
    """
    busmon = Busmon(directory, BUSES)
    file = directory / "busmon.toml"
    lines = "".join(f"{key} = {json.dumps(value, default=str)}\n" for key, value in web.items())
    file.write_text(file.read_text().replace("[web]\n", f"[web]\n{lines}"))
    busmon.configure(f'[audit.reports]\nbus = "fedora"\ntoken = "{REPORTS}"')
    with busmon:
        wait_until(lambda: ask(busmon, "/ready", tls=tls) == 200, what="busmon to be ready")
        yield busmon


@pytest.fixture(scope="module")
def busmon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busmon]:
    with attacked(tmp_path_factory.mktemp("attacked"), token=TOKEN) as busmon:
        yield busmon


def connected(busmon: Busmon) -> socket.socket:
    return socket.create_connection(("127.0.0.1", busmon.port), timeout=30)


def raw(busmon: Busmon, request: bytes) -> bytes:
    """Send bytes, and return what is received until the server closes."""
    with connected(busmon) as client:
        send(client, request)
        return rest(client)


def ask(
    busmon: Busmon, path: str, method: str = "GET", tls: ssl.SSLContext | None = None, **how: Any
) -> int:
    """Return the status of an answer, which is read to its end."""
    connection = (
        HTTPSConnection("localhost", busmon.port, timeout=HANG, context=tls)
        if tls
        else HTTPConnection("127.0.0.1", busmon.port, timeout=HANG)
    )
    try:
        connection.request(method, path, **how)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


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
                statuses = [
                    ask(busmon, path, tls=trust) for path in ("/live", "/ready", "/metrics")
                ]
                assert statuses == [200, 200, 200]
        assert ask(busmon, "/live", tls=trust) == 200


def test_a_burst_of_clients_leaves_no_thread_file_or_memory_behind(busmon: Busmon) -> None:
    def come(_: int) -> bytes:
        return raw(busmon, b"GET /live HTTP/1.0\r\n\r\n")

    with ThreadPoolExecutor(CROWD) as threads:
        answers = list(threads.map(come, range(CROWD)))
    assert {answer[-5:] for answer in answers} <= {b"live\n", b""}  # the oldest may be ended
    assert b"live\n" in {answer[-5:] for answer in answers}
    for path in PUBLIC:
        assert ask(busmon, path) == 200


def request(target: bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Host: x", *headers, b"", b""])


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
        (request(b"/metrics/"), 404),
        (request(b"/METRICS"), 404),
        (request(b"/metrics%00"), 404),
        (request(b"/metrics%3fx"), 404),
        (request(b"/metrics#x"), 404),
        (request(b"/metrics;x"), 404),
        (request(b"/./metrics"), 404),
        (request(b"/../metrics"), 404),
        (request(b"/live/../metrics"), 404),
        (request(b"/live/%2e%2e/metrics"), 404),
        (request(b"/live%2f..%2fmetrics"), 404),
        (request(b"/..%5cmetrics"), 404),
        (request(b"/../../../../etc/passwd"), 404),
        (request(b"/%2e%2e/%2e%2e/etc/passwd"), 404),
        (request(b"/\xff"), 404),
        (request(b"/live\0"), 404),
        (request(b"http://x/metrics"), 404),
        (request(b"*"), 404),
        (request(b"x:1", method=b"CONNECT"), 404),
        (request(b"/live", method=b"FLY"), 405),
        (request(b"/live", method=b"TRACE"), 405),
        (request(b"/metrics", method=b"POST"), 405),
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
    busmon: Busmon, request_: bytes, status: int
) -> None:
    answer = raw(busmon, request_)
    assert answer.split()[1] == b"%d" % status
    assert b"busmon_" not in answer


def test_a_connection_has_one_answer_whatever_follows_the_request(busmon: Busmon) -> None:
    hidden = request(b"/live")
    for first in (
        request(b"/live"),
        request(b"/live", b"Content-Length: %d" % len(hidden)),
        request(b"/live", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        request(b"/v1/reports", b"Content-Length: 0", method=b"POST"),
    ):
        assert raw(busmon, first + hidden).count(b"HTTP/1.") == 1


LOGIN = b64encode(f"me:{TOKEN}".encode()).decode()
CREDENTIALS = {
    "none": {},
    "empty": {"Authorization": ""},
    "no scheme": {"Authorization": TOKEN},
    "no token": {"Authorization": "Bearer"},
    "wrong token": bearer("wrong"),
    "longer token": bearer(f"{TOKEN}x"),
    "shorter token": bearer(TOKEN[:-1]),
    "another case": bearer(TOKEN.upper()),
    "two tokens": bearer(f"wrong, Bearer {TOKEN}"),
    "the tap's token": bearer(REPORTS),
    "not ASCII": bearer("\xff"),
    "long": bearer("x" * 50_000),
    "wrong password": {"Authorization": f"Basic {b64encode(b'me:wrong').decode()}"},
    "wrong user": {"Authorization": f"Basic {b64encode(f'you:{TOKEN}'.encode()).decode()}"},
    "not base64": {"Authorization": "Basic !"},
    "another scheme": {"Authorization": f"Digest {TOKEN}"},
    "a proxy's": {"Proxy-Authorization": f"Bearer {TOKEN}"},
    "a cookie": {"Cookie": f"token={TOKEN}"},
    "token": bearer(TOKEN),
    "login": {"Authorization": f"Basic {LOGIN}"},
}


@pytest.mark.parametrize(
    ("web", "right", "refused"),
    [
        ({"token": TOKEN}, {"token"}, 401),
        ({"username": "me", "password": TOKEN}, {"login"}, 401),
        ({"client_ca": True}, set[str](), 403),
    ],
    ids=["token", "login", "client certificate"],
)
def test_only_the_health_checks_answer_without_the_credentials(
    web: dict[str, object],
    right: set[str],
    refused: int,
    tmp_path: Path,
    certificates: Certificates,
) -> None:
    tls = None
    if "client_ca" in web:
        certificate, key = certificates.server
        web = {"client_ca": certificates.ca, "certificate": certificate, "key": key}
        tls = certificates.trusting()
    with attacked(tmp_path, tls, **web) as busmon:
        for kind, headers in CREDENTIALS.items():
            for path in PUBLIC:
                assert ask(busmon, path, tls=tls, headers=headers) == 200, (kind, path)
            for path in PRIVATE:
                expected = 200 if kind in right else refused
                assert ask(busmon, path, tls=tls, headers=headers) == expected, (kind, path)
            reported = {"Content-Type": "application/json"} | headers
            expected = 200 if kind == "the tap's token" else 401
            answered = ask(
                busmon, "/v1/reports", "POST", tls, body=json.dumps(batch()), headers=reported
            )
            assert answered == expected, kind


def posted(*headers: bytes, token: str = REPORTS) -> bytes:
    """Return the head of a request to /v1/reports."""
    shown = f"Authorization: Bearer {token}".encode()
    return request(
        b"/v1/reports", shown, b"Content-Type: application/json", *headers, method=b"POST"
    )


def test_reports_with_a_wrong_length_are_refused(busmon: Busmon) -> None:
    content = json.dumps(batch(report())).encode()
    length = b"Content-Length: %d" % len(content)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
    huge = json.dumps(batch(*[report()] * 100_000)).encode()
    for sent, status in (
        (posted(b"Transfer-Encoding: chunked") + chunked, b"411"),
        (posted(length, b"Transfer-Encoding: chunked") + chunked, b"400"),
        (posted(length, b"Content-Length: 0") + content, b"400"),
        (posted(length, length) + content, b"400"),
        (posted(b"Content-Length: -1") + content, b"411"),
        (posted(b"Content-Length: +%d" % len(content)) + content, b"411"),
        (posted(b"Content-Length: 0x10") + content, b"411"),
        (posted(b"Content-Length: %d, %d" % (len(content), len(content))) + content, b"411"),
        (posted(b"Content-Length: 99999999999999999999"), b"413"),
        (posted(b"Content-Length: %d" % len(huge)) + huge, b"413"),
    ):
        assert raw(busmon, sent).split()[1] == status, sent[:300]
    assert tapped(busmon) == 0
    assert raw(busmon, posted(length) + content).endswith(b"taken\n")
    assert tapped(busmon) == 1


def tapped(busmon: Busmon) -> int:
    """Return how many reports of messages were taken."""
    answer = raw(
        busmon,
        request(
            b"/metrics?name[]=busmon_tap_reports_total", b"Authorization: Bearer " + TOKEN.encode()
        ),
    )
    lines = [line for line in answer.decode().splitlines() if line.startswith("busmon_tap")]
    assert lines
    return int(sum(float(line.split()[-1]) for line in lines))


def test_strangers_who_send_much_use_no_memory(tmp_path: Path) -> None:
    headers = b"GET /live HTTP/1.0\r\n" + (b"x: " + 65000 * b"y" + b"\r\n") * 90
    reports = posted(b"Content-Length: 1048576", token="wrong") + bytes(1048575)
    with attacked(tmp_path) as busmon:
        before = busmon.peak_memory()
        for sent in (headers, reports):
            clients = [connected(busmon) for _ in range(60)]
            with ThreadPoolExecutor(len(clients)) as threads:
                list(threads.map(send, clients, [sent] * len(clients)))
            for client in clients:
                send(client, b"x")
                rest(client)
                client.close()
            assert busmon.peak_memory() - before < 30 * 1024**2


def send(client: socket.socket, content: bytes) -> None:
    """Send until the server takes no more."""
    with suppress(ConnectionError):
        client.sendall(content)
