"""What a busmon that follows passes on to the one that leads."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from wsgiref.types import WSGIApplication

import pytest
from prometheus_client import CollectorRegistry

from busmon.settings.models import Web
from busmon.web.app import make_app
from busmon.web.forward import MARK, MAX_AT_ONCE, forward_view
from busmon.web.health import ready_view
from tests.support.http_server import Silent, serving
from tests.support.wsgi import ask

STANDBY = b"standby"


def follower(leader: str) -> WSGIApplication:
    """Return what answers each request by asking the leader at this URL."""
    view = forward_view(lambda: leader, STANDBY.decode)
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


@contextmanager
def slow() -> Iterator[tuple[str, threading.Semaphore]]:
    """Yield the URL of a leader that answers at the end, and how many requests have reached it."""
    reached, answering = threading.Semaphore(0), threading.Event()

    class Slow(Leader):
        def do_GET(self) -> None:
            reached.release()
            answering.wait(10)
            super().do_GET()

    with serving(Slow) as url:
        try:
            yield url, reached
        finally:
            answering.set()


def test_few_requests_at_once_are_passed_on_so_memory_is_bounded() -> None:
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
            assert reached.acquire(timeout=10)
        assert ask(app, "/", "POST", body=b"1" * 9, CONTENT_LENGTH="9").body == b"busy\n"
        too_long = ask(follower(url), "/", "POST", CONTENT_LENGTH=str(2**20 + 1))
        assert too_long.status.startswith("413")
    for thread in threads:
        thread.join(10)
    assert statuses == ["200 OK"] * MAX_AT_ONCE
