"""How reports get from the tap to busmon, or don't: real sockets, both ends in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from busmon.settings.models import Web
from busmon.tap.buffer import BATCH, Buffer, CallReport
from busmon.tap.sender import Address, Sender
from busmon.web.server import WebServer
from tests.support.brokers import free_port, wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.endless import endless
from tests.support.http_server import Silent, serving
from tests.support.tap_reports import TOKEN, Bench
from tests.support.threads import running


def dropped(number: int) -> CallReport:
    return CallReport(f"id {number}", "a.topic", "dropped", None)


def filled(number: int, most: int = 10_000) -> Buffer:
    buffer = Buffer(most)
    for n in range(number):
        buffer.add(dropped(n))
    return buffer


@contextmanager
def served(bench: Bench, **settings: Any) -> Iterator[str]:
    """Serve busmon's end, and yield its URL."""
    server = WebServer(Web(**{"listen": "127.0.0.1:0", **settings}), bench.app)
    with running(server.run):
        yield server.url


@contextmanager
def sending(buffer: Buffer, url: str, ca: Path | None = None) -> Iterator[Sender]:
    sender = Sender(
        Address.of(f"{url}/v1/reports", "fedora", TOKEN, str(ca) if ca else None), buffer
    )
    sender.start()
    try:
        yield sender
    finally:
        sender.stop()


@contextmanager
def answering(*statuses: int, **headers: str) -> Iterator[tuple[str, list[bytes]]]:
    """Serve these statuses in turn, the last for ever; yield the URL and what was posted."""
    posted: list[bytes] = []

    class Handler(Silent, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(statuses[min(len(posted), len(statuses)) - 1])
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

    with serving(Handler) as url:
        yield url, posted


def ids(bench: Bench) -> list[int]:
    return sorted(int(str(row[0]).removeprefix("id ")) for row in bench.stored())


def test_every_report_arrives_in_batches() -> None:
    bench = Bench()
    with served(bench) as url, sending(filled(3 * BATCH + 7), url):
        wait_until(lambda: len(ids(bench)) == 3 * BATCH + 7)
    assert bench.value("busmon_tap_lost_reports_total", bus="fedora") == 0
    assert bench.value("busmon_tap_reports_total", bus="fedora", state="dropped") == 3 * BATCH + 7


def test_at_the_end_what_is_left_is_sent() -> None:
    bench = Bench()
    buffer = Buffer()
    with served(bench) as url, sending(buffer, url):
        wait_until(bench.tap.up)  # by a sign of life, without a report
        for n in range(2 * BATCH + 1):
            buffer.add(dropped(n))
    assert len(ids(bench)) == 2 * BATCH + 1


def test_a_full_buffer_keeps_the_newest_and_reports_the_losses() -> None:
    bench = Bench()
    port = free_port()
    buffer = filled(1000, most=300)
    assert len(buffer) == 300
    with sending(buffer, f"http://127.0.0.1:{port}"):
        wait_until(lambda: len(buffer) == 100, what="a batch to be tried")
        for n in range(1000, 1250):
            buffer.add(dropped(n))
        assert len(buffer) == 300
        with served(bench, listen=f"127.0.0.1:{port}"):
            wait_until(lambda: not len(buffer) and 1249 in ids(bench))
    assert ids(bench) == [*range(700, 900), *range(950, 1250)]
    assert bench.value("busmon_tap_lost_reports_total", bus="fedora") == 750
    assert bench.value("busmon_tap_reports_total", bus="fedora", state="dropped") == 500


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("not printable")


def test_a_sender_that_dies_is_logged_and_does_not_hurt_the_listener(
    caplog: pytest.LogCaptureFixture,
) -> None:
    buffer = Buffer(3)
    task: Any = Unprintable()
    buffer.add(dropped(1)._replace(task=task))
    with answering(200) as (url, posted), sending(buffer, url):
        wait_until(lambda: caplog.records, what="the log to say it")
        for number in range(10):
            buffer.add(dropped(number))
    assert caplog.messages == ["the tap ends, and reports nothing more to busmon"]
    assert "RuntimeError: not printable" in caplog.text
    assert (len(buffer), posted) == (3, [])


def test_a_server_that_says_continue_without_end_does_not_hold_the_sender(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with endless("continue") as url, sending(filled(1), url):
        wait_until(lambda: "the answer is too long; reports wait" in caplog.text)


def test_a_redirect_is_not_followed_with_the_token() -> None:
    with (
        answering(200) as (other, stolen),
        answering(307, Location=f"{other}/v1/reports") as (url, posted),
        sending(filled(1), url),
    ):
        wait_until(lambda: len(posted) >= 2, what="a second try")
    assert stolen == []


@pytest.mark.parametrize("status", [400, 413])
def test_what_busmon_would_never_take_is_counted_as_lost(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    buffer = filled(BATCH + 1)
    with answering(status, 200) as (url, posted), sending(buffer, url):
        wait_until(lambda: len(posted) == 2, what="the next batch")
    assert [b'"lost": 0' in posted[0], f'"lost": {BATCH}'.encode() in posted[1]] == [True, True]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("status", [301, 401, 404, 503])
def test_what_busmon_does_not_take_now_is_sent_again_as_it_was(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with answering(status, 200) as (url, posted), sending(filled(1), url):
        wait_until(lambda: len(posted) == 2, what="a second try")
    assert all(b'"seq": 1,' in content and b'"id 0"' in content for content in posted[:2])
    assert f"status {status}" in caplog.text
    assert TOKEN not in caplog.text


def test_the_certificate_of_busmon_is_checked(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = certificates.server
    bench, buffer = Bench(), filled(1)
    with served(bench, certificate=certificate, key=key) as url:
        url = url.replace("127.0.0.1", "localhost")
        with sending(buffer, url):
            wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
        assert ids(bench) == []
        with sending(filled(1), url, certificates.ca):
            wait_until(lambda: ids(bench) == [0])


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("busmon:12876", "x"),
        ("ftp://busmon/v1/reports", "x"),
        ("http:///v1/reports", "x"),
        ("http://busmon:x/v1/reports", "x"),
        ("http://user:password@busmon/v1/reports", "x"),
        ("http://busmon", ""),
        ("http://busmon", "two\nlines"),
        ("http://busmon", "caf\xe9"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_secrets(url: str, token: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)port|url|token") as error:
        Address.of(url, "fedora", token, None)
    assert "password" not in str(error.value)


@pytest.mark.parametrize("identity", [None, ""])
def test_a_message_without_an_id_is_not_reported(identity: str | None) -> None:
    """busmon would refuse an empty one, and with it all that is sent together."""
    buffer = Buffer()
    buffer.add(CallReport(identity, "a.topic", "dropped", None))
    assert len(buffer) == 0
