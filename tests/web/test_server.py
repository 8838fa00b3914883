"""The web server on real sockets: slow clients, and many at once."""

import socket
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric

from busmon.settings.models import Web
from busmon.web.app import make_app
from busmon.web.health import ready_view
from busmon.web.server import MAX_SECONDS, MAX_THREADS, WebServer
from busmon.web.sharing import MAX_REQUESTS
from tests.support.brokers import free_port, wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.sockets import rest
from tests.support.web_server import address, get, raw, serving, tls_settings


def hosts() -> list[str]:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return ["127.0.0.1", "localhost"]
    return ["127.0.0.1", "localhost", "[::1]"]


@pytest.mark.parametrize("host", hosts())
def test_its_url_has_the_port_it_really_listens_on(host: str) -> None:
    with serving(Web(listen=f"{host}:0")) as server:
        assert server.url.startswith(f"http://{host}:")
        assert get(server, "/live").text == "live\n"
        assert get(server, "/").text == "<p>café</p>"


@pytest.fixture(scope="module")
def plain() -> Iterator[WebServer]:
    with serving(Web(listen="127.0.0.1:0")) as server:
        yield server


def test_it_shows_no_versions(plain: WebServer) -> None:
    assert get(plain, "/live").server == "busmon"
    assert b"Python" not in raw(plain, b"nonsense\r\n\r\n")


class Clock:
    """The server's, which stands still until it is moved."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("busmon.web.server.time", clock)
    return clock


@pytest.mark.parametrize("settings", [Web(listen="127.0.0.1:0"), None])
def test_a_client_that_says_nothing_stops_no_other_and_is_ended(
    settings: Web | None, certificates: Certificates, clock: Clock
) -> None:
    settings = settings or tls_settings(certificates)
    client = certificates.trusting() if settings.certificate else None
    with (
        serving(settings) as server,
        socket.create_connection(address(server), timeout=30) as silent,
        socket.create_connection(address(server), timeout=30) as slow,
    ):
        slow.sendall(b"GET /live HTTP/1.0\r\nx: ")
        assert get(server, "/live", client).text == "live\n"
        clock.now = MAX_SECONDS
        assert rest(silent) == rest(slow) == b""
    assert server.closed.numbers["slow"] >= 1  # plain text ends a connection with TLS sooner


def test_a_client_that_reads_nothing_is_ended(clock: Clock) -> None:
    left = threading.Event()

    def endless(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            while True:
                yield bytes(65536)
        finally:
            left.set()

    with (
        serving(Web(listen="127.0.0.1:0"), endless) as server,
        socket.create_connection(address(server), timeout=30) as client,
    ):
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(1) == b"H"
        clock.now = MAX_SECONDS
        assert left.wait(30)


def test_of_too_many_connections_the_oldest_is_ended() -> None:
    with serving(Web(listen="127.0.0.1:0"), max_seconds=60, max_connections=3) as server:
        clients = [socket.create_connection(address(server), timeout=30) for _ in range(4)]
        assert clients[0].recv(1) == b""
        assert get(server, "/live").text == "live\n"
        assert clients[1].recv(1) == b""
        clients[3].sendall(b"GET /live HTTP/1.0\r\n\r\n")
        assert clients[3].recv(8) == b"HTTP/1.0"
        assert server.closed.numbers == {"crowded": 2, "slow": 0}
        for client in clients:
            client.close()


def test_threads_that_could_not_be_started_take_no_place(
    plain: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        for _ in range(MAX_THREADS + 1):
            assert raw(plain, b"GET /live HTTP/1.0\r\n\r\n") == b""
    assert get(plain, "/live").text == "live\n"


def test_after_stop_the_port_is_free_and_the_connections_are_ended() -> None:
    web = Web(listen=f"127.0.0.1:{free_port()}")
    with serving(web, max_seconds=60) as server:
        host, port = address(server)
        client = socket.create_connection((host, port), timeout=30)
        get(server, "/live")
    assert client.recv(1) == b""
    client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port))
    with serving(web) as server:
        assert get(server, "/live").status == 200


def test_an_address_of_another_machine_is_reported() -> None:
    problem = "cannot listen on 192.0.2.1:1: Cannot assign requested address"
    with pytest.raises(OSError, match=f"^{problem}$"):
        WebServer(Web(listen="192.0.2.1:1"))


class Blocked:
    """A collector that waits until it may go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.started = self.at_once = self.most_at_once = 0
        self._counting = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        with self._counting:
            self.started += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.go_on.wait(60)
        with self._counting:
            self.at_once -= 1
        yield GaugeMetricFamily("number", "Which one it is.", self.started)


class Inside:
    """An application, and how many requests are in it."""

    def __init__(self, app: WSGIApplication) -> None:
        self.requests = 0
        self._app = app
        self._counting = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._counting:
            self.requests += 1
        try:
            return self._app(environ, start_response)
        finally:
            with self._counting:
                self.requests -= 1


@pytest.mark.parametrize("query", ["", "?name[]=number&name[]={}"], ids=["same", "different"])
def test_hundreds_of_scrapes_at_once_share_one_thread_and_live_answers(query: str) -> None:
    blocked = Blocked()
    registry = CollectorRegistry()
    registry.register(blocked)
    app = Inside(make_app(Web(), registry, ready_view(list)))
    before = set(threading.enumerate())

    def threads() -> int:
        return len(set(threading.enumerate()) - before)

    with serving(Web(listen="127.0.0.1:0"), app, max_seconds=60) as server:
        clients = [socket.create_connection(address(server), timeout=30) for _ in range(300)]
        for number, client in enumerate(clients):
            with suppress(OSError):  # closed, since there are more
                client.sendall(f"GET /metrics{query.format(number)} HTTP/1.0\r\n\r\n".encode())
        assert get(server, "/live").text == "live\n"
        assert threads() <= 1 + MAX_THREADS
        wait_until(
            lambda: app.requests == threads() - 1,
            what="each thread to wait for its answer",
        )
        blocked.go_on.set()
        assert rest(clients[-1])[9:12] in {b"200", b"503"}
        wait_until(lambda: threads() <= 1, what="the end of the flood")
        assert get(server, "/metrics").status == 200
        for client in clients:
            client.close()
    assert blocked.most_at_once == 1
    assert blocked.started < (20 if not query else MAX_REQUESTS + 20)  # of 300


def test_nobody_gets_metrics_that_are_older_than_the_request() -> None:
    blocked = Blocked()
    registry = CollectorRegistry()
    registry.register(blocked)
    app = make_app(Web(), registry, ready_view(list))
    with serving(Web(listen="127.0.0.1:0"), app) as server, ThreadPoolExecutor(4) as clients:
        first = clients.submit(get, server, "/metrics")
        wait_until(lambda: blocked.started == 1, what="the first rendering")
        later = [clients.submit(get, server, "/metrics") for _ in range(3)]
        assert get(server, "/live").status == 200
        blocked.go_on.set()
        texts = [each.result().text for each in (first, *later)]
    assert ["number 1.0" in text for text in texts] == [True, False, False, False]
