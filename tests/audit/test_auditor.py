"""The auditor's metrics, and its thread."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from busmon.audit.auditor import Auditor
from busmon.audit.scope import Observed
from busmon.ledger.acceptances import Selection
from busmon.ledger.clock import HOLD_SECONDS, HostClock
from busmon.ledger.open_messages import State
from busmon.message import Stage
from busmon.settings.audit import Audit
from tests.support import past
from tests.support.audit import AUDIT, BUS, BY_IDS, NOW, STAGES, AuditBench
from tests.support.brokers import wait_until
from tests.support.ledgers import unwritable
from tests.support.open_gaps import StopsAt
from tests.support.threads import running


def samples(bench: AuditBench, bus: str = BUS) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield each sample's name and labels, and its value."""
    for family in Auditor(AUDIT, BY_IDS, bench.ledger, 3600, [bus]).collect():
        for sample in family.samples:
            name = sample.name.removeprefix("busmon_").removeprefix("audit_")
            yield (name, *sample.labels.values()), sample.value


def test_every_series_of_a_known_topic_starts_at_zero(bench: AuditBench) -> None:
    bench.receive("1", at=NOW - 3000)
    bench.receive("2", at=NOW - 3000, topic="b", handled=False)
    expected: set[tuple[str, ...]] = {("messages_total", BUS, "a", stage) for stage in STAGES}
    ages = ("1h", "6h", "1d", "1w", "older")
    expected |= {("open_gap_age_messages", BUS, at, age) for at in STAGES[1:] for age in ages}
    for name in ("missing_total", "recovered_total", "expired_total", "open_gap_messages"):
        expected |= {(name, BUS, "a", stage) for stage in STAGES[1:]}
    expected |= {("unexpected_total", BUS, topic, "listener") for topic in ("a", "b")}
    expected |= {("no_data_windows_total", BUS, stage) for stage in STAGES}
    expected |= {("unconfirmed_messages", BUS, stage) for stage in STAGES[1:]}
    found = dict(samples(bench))
    assert {series for series, value in found.items() if value == 0} == expected
    assert found["last_closed_timestamp_seconds",] == NOW
    assert found["window_seconds",] == 10


def test_series_of_topics_that_are_no_longer_known_stay(bench: AuditBench) -> None:
    bench.receive("1")
    bench.close(NOW + 12)
    found = dict(samples(bench))
    assert found["messages_total", BUS, "a", "bus"] == 1
    assert found["missing_total", BUS, "a", "listener"] == 1
    assert found["recovered_total", BUS, "a", "listener"] == 0


def test_open_gaps_and_unconfirmed_messages_are_right_after_a_restart(bench: AuditBench) -> None:
    bench.receive("1", "2", at=NOW + 10)
    bench.receive("3", at=NOW + 20)
    bench.receive("4", at=NOW + 31)
    bench.report("3")
    bench.blind((NOW + 32, NOW + 33))
    bench.close(NOW + 42)
    found = dict(samples(bench))
    assert found["open_gap_messages", BUS, "a", "listener"] == 2
    assert found["open_gap_messages", BUS, "a", "worker"] == 1
    assert found["open_gap_oldest_timestamp_seconds", BUS, "listener"] == NOW + 10
    assert found["open_gap_oldest_timestamp_seconds", BUS, "worker"] == NOW + 20
    assert found["unconfirmed_messages", BUS, "listener"] == 1
    assert found["unconfirmed_messages", BUS, "worker"] == 0


def test_open_gaps_are_counted_by_the_age_of_their_window(bench: AuditBench) -> None:
    bench.receive("1", "2", at=NOW)
    bench.receive("3", at=NOW + 10)
    bench.blind()
    bench.close(NOW + 22)
    for age, expected in (
        (3599, {"1h": 3}),
        (3600, {"1h": 1, "6h": 2}),
        (3610, {"6h": 3}),
        (6 * 3600, {"6h": 1, "1d": 2}),
        (86400, {"1d": 1, "1w": 2}),
        (7 * 86400, {"1w": 1, "older": 2}),
        (400 * 86400, {"older": 3}),
        (-3600, {"1h": 3}),  # the clock is behind
    ):
        clock = HostClock(partial(float, NOW + age))
        auditor = Auditor(AUDIT, BY_IDS, bench.ledger, 3600, [BUS], clock)
        family = next(
            one for one in auditor.collect() if one.name == "busmon_open_gap_age_messages"
        )
        values = {(*sample.labels.values(),): sample.value for sample in family.samples}
        at = {age: values[BUS, "listener", age] for age in ("1h", "6h", "1d", "1w", "older")}
        assert {age: n for age, n in at.items() if n} == expected, age


def test_a_gap_of_a_bus_that_was_removed_is_zero_once_it_is_accepted(bench: AuditBench) -> None:
    bench.receive("1")
    bench.close(NOW + 12)
    for open_messages in (1, 0):
        found = dict(samples(bench, "another"))
        assert found["open_gap_messages", BUS, "a", "listener"] == open_messages
        with bench.ledger.write() as tables:
            matching = tables.acceptances.matching(Selection(NOW, NOW + 10), None, 10)
            tables.acceptances.accept(1, matching, NOW + 20)


def test_while_no_window_can_be_closed_the_log_says_so_until_one_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    known = past.Past(tmp_path)  # of two minutes, none of which is closed
    auditor = Auditor(Audit(window=4, grace=1), Observed(tap=BUS), known.ledger, 3600, [BUS])
    with running(auditor.run), unwritable(known.path):
        wait_until(lambda: caplog.messages, what="the problem")
    with running(auditor.run):
        wait_until(lambda: len(caplog.messages) == 2, what="the end of the problem")
    assert caplog.messages[0].startswith("audit: no window can be closed: ")
    assert caplog.messages[1] == "audit: windows are closed again"
    known.ledger.close()


def test_a_clock_that_is_wrong_for_a_time_ends_no_gap_and_no_audit(bench: AuditBench) -> None:
    """The clock is ahead by years, then by days for longer than an hour, then right again."""
    real, ahead, retention = NOW + 20, 0.0, 600
    clock = HostClock(lambda: real + ahead, lambda: real)
    auditor = Auditor(AUDIT, BY_IDS, bench.ledger, retention, [BUS], clock)

    def work() -> None:
        auditor.run(StopsAt(100))

    for kind in ("tap", "celery"):
        bench.watch(kind, NOW - 100, NOW + 1e6)
    bench.blind()
    bench.receive("lost", "runs")
    bench.report("runs")
    bench.work("runs", "received")
    bench.ledger.set_floor(real)
    work()
    for years in (1, 12):
        ahead = years * 365 * 86400.0
        work()
        assert bench.missing() == {(Stage.LISTENER, "lost")}
        assert bench.open(State.RUNNING) == {(Stage.WORKER, "runs")}
    ahead = 3 * 86400.0
    work()
    real += HOLD_SECONDS + 1
    bench.receive("ahead", at=real + ahead - 100)
    work()
    assert dict(samples(bench))["last_closed_timestamp_seconds",] > real + 2 * 86400
    ahead = 0.0
    real += 20
    bench.receive("later", at=real - 15)
    work()
    assert {one for _, one in bench.missing()} == {"lost", "later", "runs", "ahead"}
    with bench.ledger.read() as tables:
        assert max(one.start for one in tables.gaps.listed()) == real
    assert dict(samples(bench))["messages_total", BUS, "a", "bus"] == 4
