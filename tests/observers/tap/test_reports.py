"""/v1/reports: what the ledger has of the tap's reports then, and for how long."""

import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from busmon.ledger.engines import open_read_only
from busmon.ledger.tap_reports import TapReport
from busmon.observers.tap import STATES
from tests.ledger.sql import foreign_writer
from tests.support.ledgers import judged, unwritable
from tests.support.tap_reports import ID, NOW, TOPIC, Bench, batch, report


def test_reports_are_on_disk_when_they_are_taken(tmp_path: Path) -> None:
    bench = Bench(str(tmp_path / "ledger.sqlite"))
    assert bench.post(batch(report(task="a task"), report("odd", "dropped"))) == (200, "taken\n")
    with open_read_only(str(tmp_path / "ledger.sqlite")) as tables:
        kept = set(tables.tap_reports.of("fedora"))
        (record,) = tables.messages.find(ID)
    assert kept == {
        TapReport(ID, TOPIC, "passed", "a task", NOW),
        TapReport("odd", TOPIC, "dropped", None),
    }
    assert record.reported_at == NOW
    bench.ledger.close()


@pytest.mark.parametrize(
    ("ago", "passed"),
    [
        (7.5, 7.5),
        (3, 3),
        # It is certainly within what the batch covers, whatever the report says.
        (1.9, 2),
        (10.1, 10),
        (-1, 2),
        (1e300, 2),
        ("soon", 2),
        (None, 2),
        ([], 2),
    ],
)
def test_when_a_message_was_passed_is_known_by_the_clock_of_the_tap(
    bench: Bench, ago: object, passed: float
) -> None:
    timed: dict[str, object] = {**report(), "at": ago}
    assert bench.post(batch(timed, report("2"), since=10, until=2))[0] == 200
    assert {kept.id: kept.at for kept in bench.stored()} == {ID: NOW - passed, "2": NOW - 2}


@pytest.mark.parametrize(
    ("first", "then", "kept"),
    [
        ("passed", "passed", "passed then"),  # its task may be a repetition of a purged one
        ("passed", "dropped", "passed first"),
        ("passed", "raised", "passed first"),
        ("dropped", "passed", "passed then"),
        ("dropped", "dropped", "dropped first"),
        ("dropped", "raised", "dropped first"),
        ("raised", "passed", "passed then"),
        ("raised", "dropped", "dropped then"),
        ("raised", "raised", "raised first"),
    ],
)
def test_of_a_message_handled_twice_the_fullest_report_stays(
    bench: Bench, first: str, then: str, kept: str
) -> None:
    bench.post(batch(report(state=first, task="first")))
    bench.now += 60
    bench.post(batch(report(state=then, task="then"), seq=2))
    with bench.ledger.read() as tables:
        (found,) = tables.messages.find(ID)
    assert f"{found.report} {found.task}" == kept
    replaced = first != "passed" and kept.endswith("then")
    assert found.reported_at == NOW + 60 * replaced


def test_a_batch_sent_again_counts_once(bench: Bench) -> None:
    for _ in range(3):
        bench.post(batch(report(), report("x", "dropped"), lost=5, seq=7))
    bench.post(batch(report("y"), lost=1, seq=8))
    bench.post(batch(report("z"), lost=2, seq=1, tap="another tap"))
    counts = {
        state: bench.value("busmon_tap_reports_total", bus="fedora", state=state)
        for state in ("passed", "dropped", "raised")
    }
    assert counts == {"passed": 3, "dropped": 1, "raised": 0}
    assert bench.value("busmon_tap_lost_reports_total", bus="fedora") == 8


def test_after_a_restart_counts_go_on_and_a_batch_sent_again_is_known(
    tmp_path: Path,
) -> None:
    """busmon may have been killed before it could answer."""
    path = str(tmp_path / "ledger.sqlite")
    again = batch(report(), report("x", "dropped"), "malformed", lost=5, seq=7)
    with closing(Bench(path)) as first:
        assert first.post(again)[0] == 200
        before = tap_counts(first)
    with closing(Bench(path)) as second:
        assert tap_counts(second) == before == [1, 1, 0, 5, 1]
        second.post(again)
        assert tap_counts(second) == before
        second.post(batch(report("y"), seq=8))
        assert tap_counts(second) == [2, 1, 0, 5, 1]


def tap_counts(bench: Bench) -> list[float | None]:
    name = "busmon_tap_reports_total"
    others = ("busmon_tap_lost_reports_total", "busmon_tap_malformed_reports_total")
    of_states = (bench.value(name, bus="fedora", state=state) for state in STATES)
    return [*of_states, *(bench.value(other, bus="fedora") for other in others)]


def test_while_the_ledger_cannot_write_the_tap_is_asked_to_retry(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    bench = Bench(path)
    with unwritable(path):
        assert bench.post(batch(report()))[0] == 503
    assert bench.refused() == {"ledger": 1}
    assert bench.post(batch(report()))[0] == 200
    assert bench.value("busmon_tap_reports_total", bus="fedora", state="passed") == 1
    bench.ledger.close()


def test_the_tap_is_up_for_half_a_minute_after_each_report(bench: Bench) -> None:
    def up() -> float | None:
        return bench.value("busmon_observer_up", observer="tap", bus="fedora")

    seen = [up()]
    bench.post(batch())
    seen.append(up())
    bench.monotonic = 29.0
    seen.append(up())
    bench.monotonic = 31.0
    seen.append(up())
    assert seen == [0, 1, 1, 0]


def test_old_reports_are_pruned_in_small_steps(bench: Bench) -> None:
    for n in range(1200):
        bench.post(batch(report(str(n)), seq=n + 1))
    bench.now += 3600
    bench.post(batch(report("new"), seq=1201))
    steps = [bench.ledger.prune(NOW + 7200, 7000) for _ in range(3)]
    assert (steps, [row[0] for row in bench.stored()]) == ([True, True, False], ["new"])


def test_a_flood_of_reports_makes_busmon_forget_no_message(bench: Bench) -> None:
    bench.ledger.size_limit = 2 * 1024**2
    bench.ledger.record(judged(*range(1000), at=NOW))
    for seq in range(1, 7):
        reports = [report(f"{seq}-{n}", task="x" * 200) for n in range(1000)]
        bench.post(batch(*reports, seq=seq))
    while bench.ledger.prune(bench.now, 7000):
        pass
    assert bench.ledger.pruned == {"age": 0, "size": 0}
    assert 0 < len(bench.stored()) == 6000 - bench.ledger.dropped["tap_reports"]


def test_the_metrics_do_not_wait_for_a_batch_that_is_being_written(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    bench = Bench(path)
    answers: list[tuple[int, str]] = []
    posting = threading.Thread(target=lambda: answers.append(bench.post(batch(report()))))
    with foreign_writer(path):
        posting.start()
        time.sleep(0.2)  # it waits for the other program now
        assert bench.value("busmon_tap_reports_total", bus="fedora", state="passed") == 0
        assert posting.is_alive()
    posting.join()
    assert answers == [(200, "taken\n")]
    assert bench.value("busmon_tap_reports_total", bus="fedora", state="passed") == 1
    bench.ledger.close()
