"""How reports get from the tap to busmon, or don't: real sockets, both ends in this process."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from busmon.tap.busmon_tap import BATCH, Reports
from tests.support.brokers import free_port, wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.endless import endless
from tests.support.http_server import Silent, serving
from tests.support.tap_reports import TOKEN, Bench, served


def dropped(number: int) -> dict[str, Any]:
    return {"id": f"id {number}", "topic": "a.topic", "state": "dropped", "task": None}


def waiting(number: int, url: str, most: int = 10_000, **settings: str) -> Reports:
    """Return so many reports for the busmon at this URL, of which at most `most` wait."""
    usual = {"url": f"{url}/v1/reports", "bus": "fedora", "token": TOKEN}
    reports = Reports(usual | settings, most)
    for n in range(number):
        reports.add(dropped(n))
    return reports


@contextmanager
def sending(reports: Reports) -> Iterator[Reports]:
    reports.start()
    try:
        yield reports
    finally:
        reports.stop()
        thread = reports._thread  # noqa: SLF001 - else its last line is in the next test's log
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent at the end arrives, also on a busy machine."""
    monkeypatch.setattr("busmon.tap.busmon_tap.FLUSH_TIMEOUT", 60.0)


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
    with served(bench) as url, sending(waiting(3 * BATCH + 7, url)):
        wait_until(lambda: len(ids(bench)) == 3 * BATCH + 7)
    assert bench.value("busmon_tap_lost_reports_total", bus="fedora") == 0
    assert bench.value("busmon_tap_reports_total", bus="fedora", state="dropped") == 3 * BATCH + 7


@pytest.mark.usefixtures("unhurried")
def test_each_report_says_how_long_ago_its_message_was_passed() -> None:
    bench = Bench()  # its clock stands still, so all have to be in one batch
    with served(bench) as url:
        reports = waiting(0, url)
        for number in range(3):
            reports.add(dropped(number) | {"state": "passed"})
            time.sleep(0.01)
        with sending(reports):
            pass
    at = [kept.at for kept in sorted(bench.stored()) if kept.at is not None]
    assert at == sorted({*at})
    assert len(at) == 3
    assert at[-1] < bench.now


@pytest.mark.usefixtures("unhurried")
def test_at_the_end_what_is_left_is_sent() -> None:
    bench = Bench()
    with served(bench) as url, sending(waiting(0, url)) as reports:
        wait_until(bench.tap.up)  # by a sign of life, without a report
        for n in range(2 * BATCH + 1):
            reports.add(dropped(n))
    assert len(ids(bench)) == 2 * BATCH + 1


def test_a_full_buffer_keeps_the_newest_and_reports_the_losses() -> None:
    bench = Bench()
    port = free_port()
    reports = waiting(1000, f"http://127.0.0.1:{port}", most=300)
    assert len(reports.waiting) == 300
    with sending(reports):
        wait_until(lambda: len(reports.waiting) == 100, what="a batch to be tried")
        for n in range(1000, 1250):
            reports.add(dropped(n))
        assert len(reports.waiting) == 300
        with served(bench, listen=f"127.0.0.1:{port}"):
            wait_until(lambda: not reports.waiting and 1249 in ids(bench))
    assert ids(bench) == [*range(700, 900), *range(950, 1250)]
    assert bench.value("busmon_tap_lost_reports_total", bus="fedora") == 750
    assert bench.value("busmon_tap_reports_total", bus="fedora", state="dropped") == 500


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("not printable")


def test_a_sender_that_dies_is_logged_and_does_not_hurt_the_listener(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with answering(200) as (url, posted), sending(waiting(0, url, 3)) as reports:
        reports.add(dropped(1) | {"task": Unprintable()})
        wait_until(lambda: caplog.records, what="the log to say it")
        for number in range(10):
            reports.add(dropped(number))
    assert caplog.messages == ["the tap ends, and reports nothing more to busmon"]
    assert "RuntimeError: not printable" in caplog.text
    assert len(reports.waiting) == 3
    assert posted == []


def test_a_server_that_says_continue_without_end_does_not_hold_the_sender(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with endless("continue") as url, sending(waiting(1, url)):
        wait_until(lambda: "status 100; reports wait" in caplog.text)


def test_a_server_that_does_not_answer_in_time_is_left(caplog: pytest.LogCaptureFixture) -> None:
    with endless("slow status line") as url, sending(waiting(1, url)):
        wait_until(lambda: "timed out; reports wait" in caplog.text)


def test_a_redirect_is_not_followed_with_the_token(caplog: pytest.LogCaptureFixture) -> None:
    with (
        answering(200) as (other, stolen),
        answering(307, Location=f"{other}/v1/reports") as (url, posted),
        sending(waiting(1, url)),
    ):
        wait_until(lambda: len(posted) >= 2, what="a second try")
    assert stolen == []
    assert [record.levelname for record in caplog.records] == ["ERROR"], "once, not at each try"


@pytest.mark.parametrize("status", [400, 413])
def test_what_busmon_would_never_take_is_counted_as_lost(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with answering(status, 200) as (url, posted), sending(waiting(BATCH + 1, url)):
        wait_until(lambda: len(posted) == 2, what="the next batch")
    assert [b'"lost": 0' in posted[0], f'"lost": {BATCH}'.encode() in posted[1]] == [True, True]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("status", [301, 401, 404, 503])
def test_what_busmon_does_not_take_now_is_sent_again_as_it_was(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with answering(status, 200) as (url, posted), sending(waiting(1, url)):
        wait_until(lambda: len(posted) == 2, what="a second try")
    assert all(b'"seq": 1,' in content and b'"id 0"' in content for content in posted[:2])
    assert f"status {status}" in caplog.text
    assert TOKEN not in caplog.text


def test_the_certificate_of_busmon_is_checked(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = certificates.server
    bench = Bench()
    with served(bench, certificate=certificate, key=key) as url:
        url = url.replace("127.0.0.1", "localhost")
        with sending(waiting(1, url)):
            wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
        assert ids(bench) == []
        with sending(waiting(1, url, ca=str(certificates.ca))):
            wait_until(lambda: ids(bench) == [0])


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("busmon:12876", "x"),
        ("ftp://busmon/v1/reports", "x"),
        ("http:///v1/reports", "x"),
        ("http://busmon:x/v1/reports", "x"),
        ("http://user:password@busmon/v1/reports", "x"),
        ("http://user:password/@busmon/v1/reports", "x"),
        ("http://user:password\u2100@busmon/v1/reports", "x"),
        ("http://[password]/v1/reports", "x"),
        ("http://busmon/v1/reports password", "x"),
        ("http://busmon\0password/v1/reports", "x"),
        ("http://busmon", ""),
        ("http://busmon", "two\nlines"),
        ("http://busmon", "caf\xe9"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_secrets(url: str, token: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)port|url|token") as error:
        waiting(0, url, token=token)
    assert "password" not in str(error.value)


@pytest.mark.parametrize("identity", [None, ""])
def test_a_message_without_an_id_is_not_reported(identity: str | None) -> None:
    """busmon would refuse an empty one, and with it all that is sent together."""
    reports = waiting(0, "http://busmon")
    reports.add(dropped(1) | {"id": identity})
    assert not reports.waiting
