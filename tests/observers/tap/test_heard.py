"""Whether any tap was ever heard of, and what is said until then."""

import logging
import threading
from pathlib import Path

import pytest

from busmon.observers.tap import NEVER_HEARD
from tests.support.tap_reports import NOW, Bench, batch

LAST_REPORT = "busmon_tap_last_report_timestamp_seconds"


def test_before_the_first_report_ever_there_may_be_no_tap(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    first = Bench(path)
    assert (first.tap.problem(), first.tap.last_report()) == (NEVER_HEARD, None)
    assert first.value(LAST_REPORT, bus="fedora") is None
    assert first.post(batch())[0] == 200
    assert first.tap.problem() is None
    first.monotonic += 30
    assert first.tap.problem() == "no report since 2026-09-21 14:13:20 UTC"
    first.ledger.close()

    after_a_restart = Bench(path)
    assert after_a_restart.tap.problem() == "no report since 2026-09-21 14:13:20 UTC"
    assert after_a_restart.value(LAST_REPORT, bus="fedora") == NOW
    after_a_restart.ledger.close()


def test_reports_that_were_refused_since_the_last_one_are_named(bench: Bench) -> None:
    bench.post(batch(), HTTP_AUTHORIZATION="Bearer wrong")
    assert bench.tap.problem() == "no report was ever accepted; some were refused: token"
    bench.post(batch())
    bench.monotonic += 30
    silent = "no report since 2026-09-21 14:13:20 UTC"
    assert bench.tap.problem() == silent
    bench.post(batch(), HTTP_AUTHORIZATION="Bearer wrong")
    assert bench.tap.problem() == f"{silent}; some were refused: token"


class Seconds(threading.Event):
    """An event whose waits take no time, but a second of the bench's; set after `number`."""

    def __init__(self, bench: Bench, number: int) -> None:
        super().__init__()
        self._bench, self._left = bench, number

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == 1.0
        self._bench.monotonic += timeout
        self._left -= 1
        return self._left < 0


def test_the_log_gives_a_tap_time_to_report_and_then_warns_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.tap.run(Seconds(bench, 29))
    assert caplog.messages == []
    bench.tap.run(Seconds(bench, 600))
    assert caplog.messages == [f"tap:fedora: {NEVER_HEARD}"]


def test_the_log_says_since_when_a_tap_is_silent(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.post(batch())
    bench.tap.run(Seconds(bench, 90))
    assert caplog.messages == ["tap:fedora: no report since 2026-09-21 14:13:20 UTC"]
