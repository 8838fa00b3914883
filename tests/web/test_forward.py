"""What a busmon that follows passes on to the one that leads."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from wsgiref.types import WSGIApplication

import pytest
from prometheus_client import CollectorRegistry

from busmon.settings.models import Web
from busmon.web.app import make_app
from busmon.web.forward import MARK, MAX_AT_ONCE, OTHER_CERTIFICATE, forward_view
from busmon.web.health import ready_view
from tests.support.brokers.certificates import Certificates
from tests.support.http_server import Silent, serving
from tests.support.web_server import serving as web_server
from tests.support.web_server import tls_settings
from tests.support.wsgi import ask

STANDBY = b"standby"
PLAIN = Web()


def follower(leader: str, settings: Web = PLAIN) -> WSGIApplication:
    """Return what answers each request by asking the leader at this URL."""
    view = forward_view(lambda: leader, STANDBY.decode, settings)
    return make_app(Web(), CollectorRegistry(), ready_view(list), own=lambda _: view)


class Leader(Silent, BaseHTTPRequestHandler):
    """Answers with the headers that it got."""

    def do_GET(self) -> None:
        content = json.dumps(dict(self.headers.items())).encode()
        self.send_response(200)
        for name, value in {
            "Connection": "close",
            "Content-Length": str(len(content)),
            "Content-Type": "application/json",
            "X-Own": "1",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def test_headers_of_one_connection_are_not_passed_on() -> None:
    given: dict[str, str | None] = {
        "HTTP_HOST": "busmon.example.org",
        "HTTP_AUTHORIZATION": "Bearer t0ken",
        "HTTP_CONNECTION": "close, X-Mine",
        "HTTP_EXPECT": "100-continue",
        "HTTP_PROXY_AUTHORIZATION": "Basic c2VjcmV0",
        "HTTP_X_MINE": "1",
    }
    with serving(Leader) as url:
        got, head = (
            ask(follower(url), "/x", method, "", b"", **given) for method in ("GET", "HEAD")
        )
    received = json.loads(got.body)
    assert received.pop("Accept-Encoding") == "identity"
    assert received == {
        "Host": "busmon.example.org",
        "Authorization": "Bearer t0ken",
        MARK: "1",
    }
    assert got.headers["X-Own"] == "1"
    assert "Connection" not in got.headers
    assert (head.headers, head.body) == (got.headers, b"")


@pytest.mark.parametrize(
    "url", ["", "https://127.0.0.1:1", "http://127.0.0.1", "http://[x", "http://x:99999", "file:/"]
)
def test_a_leader_that_cannot_be_asked_is_named(url: str) -> None:
    answer = ask(follower(url), "/topics")
    assert (answer.status, answer.body) == ("503 Service Unavailable", STANDBY + b"\n")


def test_a_leader_is_asked_over_tls_if_it_has_the_same_certificate(
    certificates: Certificates, tmp_path: Path
) -> None:
    settings = tls_settings(certificates)
    chain = tmp_path / "chain.pem"  # of the same CA; who has another certificate of it is refused
    own, key = certificates.client("other")
    chain.write_bytes(own.read_bytes() + certificates.ca.read_bytes())
    other = Web(certificate=chain, key=key)
    with web_server(settings) as leader:
        url = leader.url.replace("localhost", "127.0.0.1")  # as it has announced it
        assert ask(follower(url, settings), "/").body == "<p>café</p>".encode()
        for wrong, answer in (
            (other, f"standby, {OTHER_CERTIFICATE}\n"),
            (settings.model_copy(update={"client_ca": certificates.ca}), "standby\n"),
            (PLAIN, "standby\n"),
        ):
            got = ask(follower(url, wrong), "/")
            assert (got.status[:3], got.body) == ("503", answer.encode())
    with serving(Leader) as url:  # it has no certificate any more, or not yet
        assert ask(follower(url, settings), "/").body == b"standby\n"


@contextmanager
def slow() -> Iterator[tuple[str, threading.Semaphore]]:
    """Yield the URL of a leader that answers at the end, and how many requests have reached it."""
    reached, answering = threading.Semaphore(0), threading.Event()

    class Slow(Leader):
        def do_GET(self) -> None:
            reached.release()
            answering.wait(30)
            super().do_GET()

    with serving(Slow) as url:
        try:
            yield url, reached
        finally:
            answering.set()


def test_few_requests_at_once_are_passed_on_so_memory_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("busmon.web.forward.MAX_SECONDS", 60)
    statuses: list[str] = []
    with slow() as (url, reached):
        app = follower(url)
        threads = [
            threading.Thread(target=lambda: statuses.append(ask(app, "/").status))
            for _ in range(MAX_AT_ONCE)
        ]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert reached.acquire(timeout=30)
        assert ask(app, "/", "POST", body=b"1" * 9, CONTENT_LENGTH="9").body == b"busy\n"
        too_long = ask(follower(url), "/", "POST", CONTENT_LENGTH=str(2**20 + 1))
        assert too_long.status.startswith("413")
    for thread in threads:
        thread.join(30)
    assert statuses == ["200 OK"] * MAX_AT_ONCE
