"""Corrections of closed windows: later reports, tasks that end, absent observers."""

import pytest

from busmon.audit.corrections import MAX_AGE_SECONDS, MAX_ROWS
from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.windows import Totals
from busmon.message import Stage
from tests.support.audit import BUS, NOW, AuditBench


def test_a_late_report_recovers_a_message_and_no_counter_goes_down(bench: AuditBench) -> None:
    bench.receive("1")
    bench.close(NOW + 12)
    assert bench.missing() == {(Stage.LISTENER, "1")}
    bench.report("1", at=NOW + 5000)
    bench.work("1")
    bench.close(NOW + 5000)
    bench.close(NOW + 5015)
    assert bench.totals() == {
        Stage.BUS: Totals(messages=1),
        Stage.LISTENER: Totals(missing=1, recovered=1),
        Stage.WORKER: Totals(messages=1),  # what was passed on late is followed all the same
    }
    with bench.ledger.read() as tables:
        (missing,) = tables.open_messages.history(BUS, "1")
    assert missing == (Stage.LISTENER, NOW, NOW + 5000)


@pytest.mark.parametrize(("age", "recovered"), [(-1, 1), (1, 0)])
def test_a_report_after_more_than_a_day_corrects_nothing(
    bench: AuditBench, age: int, recovered: int
) -> None:
    bench.receive("1")
    bench.close(NOW + 12)
    bench.report("1")
    bench.close(NOW + MAX_AGE_SECONDS + age)
    assert bench.totals()[Stage.LISTENER] == Totals(missing=1, recovered=recovered)


def test_a_long_task_is_open_until_it_ends_or_is_overdue(bench: AuditBench) -> None:
    for message_id, state in (("1", "started"), ("2", "received")):
        bench.receive(message_id)
        bench.report(message_id)
        bench.work(message_id, state)
    bench.close(NOW + 12)
    assert bench.totals()[Stage.WORKER] == Totals()
    bench.work("1")
    bench.close(NOW + 20)
    assert bench.totals()[Stage.WORKER] == Totals(messages=1)
    bench.close(NOW + 39 + MAX_GAP_SECONDS)
    assert bench.totals()[Stage.WORKER] == Totals(messages=1)
    bench.close(NOW + 40 + MAX_GAP_SECONDS)
    assert bench.totals()[Stage.WORKER] == Totals(messages=1, missing=1)
    bench.work("2", "failed")
    bench.close(NOW + 100)
    assert bench.totals()[Stage.WORKER] == Totals(messages=1, missing=1, recovered=1)


def test_a_task_that_was_not_watched_until_its_end_is_no_data(unwatched: AuditBench) -> None:
    bench = unwatched
    bench.watch("tap", NOW, NOW + 100)
    bench.watch("celery", NOW, NOW + 20)
    bench.receive("1")
    bench.report("1")
    bench.work("1", "started")
    assert bench.close(NOW + 12) == 1
    assert (bench.running(), bench.no_data()[Stage.WORKER]) == (1, 0)
    bench.windows.correct(NOW + 40 + MAX_GAP_SECONDS)
    assert bench.totals()[Stage.WORKER] == Totals()
    assert (bench.running(), bench.no_data()[Stage.WORKER]) == (0, 1)
    assert bench.missing() == set()


def test_a_great_many_messages_are_recovered_step_by_step(bench: AuditBench) -> None:
    ids = [str(n) for n in range(MAX_ROWS + 10)]
    bench.receive(*ids)
    bench.close(NOW + 12)
    bench.report(ids[0], ids[-1])
    assert bench.windows.correct(NOW + 13)
    assert not bench.windows.correct(NOW + 13)
    assert bench.totals()[Stage.LISTENER] == Totals(missing=len(ids), recovered=2)
