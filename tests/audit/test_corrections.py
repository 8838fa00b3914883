"""Corrections of closed windows: later reports, tasks that end, absent observers."""

import pytest

from busmon.audit.corrections import EXPIRY_SECONDS, MAX_LOOKS
from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.gaps import OpenAt, OpenGap
from busmon.ledger.open_messages import State
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.windows import Place, Totals
from busmon.message import Stage
from tests.support.audit import BUS, NOW, TOPIC, AuditBench

MONTHS = 300 * 86400.0


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
        Stage.HANDLERS: Totals(messages=1),
    }
    with bench.ledger.read() as tables:
        (ended,) = tables.gaps.history(BUS, "1")
    assert ended == OpenAt(Stage.LISTENER, NOW, State.RECOVERED, None, NOW + 5000, False)


def test_a_gap_is_open_for_months_until_its_messages_are_recovered(bench: AuditBench) -> None:
    bench.receive("1", "2")
    bench.close(NOW + 12)
    while bench.windows.prune(NOW + MONTHS, 86400) or bench.ledger.prune(NOW + MONTHS, 86400):
        pass
    place = Place(BUS, TOPIC, Stage.LISTENER)
    assert bench.windows.open_gaps() == {place: OpenGap(2, 1, NOW)}
    bench.restart()
    assert bench.windows.open_gaps() == {place: OpenGap(2, 1, NOW)}
    bench.report("1", at=NOW + MONTHS)
    bench.correct(NOW + MONTHS)
    assert bench.windows.open_gaps() == {place: OpenGap(1, 1, NOW)}
    assert bench.windows.with_gaps() == {BUS: 1}
    assert bench.totals()[Stage.LISTENER] == Totals(missing=2, recovered=1)


def test_a_gap_that_is_open_for_13_months_expires(bench: AuditBench) -> None:
    bench.receive("1")
    bench.receive("2", at=NOW + 10)
    bench.close(NOW + 22)
    assert not bench.windows.expire(NOW + EXPIRY_SECONDS)
    assert bench.windows.expire(NOW + EXPIRY_SECONDS + 1)
    assert not bench.windows.expire(NOW + EXPIRY_SECONDS + 1)
    assert bench.missing() == {(Stage.LISTENER, "2")}
    assert bench.totals()[Stage.LISTENER] == Totals(missing=2, expired=1)


def test_old_messages_that_are_healed_do_not_hide_new_losses(bench: AuditBench) -> None:
    old, new = [f"{n}" for n in range(10)], [f"new-{n}" for n in range(8)]
    bench.receive(*old)
    bench.close(NOW + 12)
    bench.receive(*new, at=NOW + 20)
    bench.report(*old)
    bench.close(NOW + 32)
    assert bench.windows.open_gaps() == {Place(BUS, TOPIC, Stage.LISTENER): OpenGap(8, 1, NOW + 20)}


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


def test_a_task_that_was_not_watched_until_its_end_is_unconfirmed(unwatched: AuditBench) -> None:
    bench = unwatched
    bench.watch("tap", NOW, NOW + 100)
    bench.watch("celery", NOW, NOW + 20)
    bench.receive("1")
    bench.report("1")
    bench.work("1", "started")
    assert bench.close(NOW + 12) == 1
    assert bench.open(State.RUNNING) == {(Stage.WORKER, "1")}
    bench.correct(NOW + 40 + MAX_GAP_SECONDS)
    assert bench.totals()[Stage.WORKER] == Totals()
    assert bench.open(State.UNCONFIRMED) == {(Stage.WORKER, "1")}
    assert bench.windows.unconfirmed() == {(BUS, Stage.WORKER): 1}
    bench.work("1")
    bench.close(NOW + 40 + MAX_GAP_SECONDS)
    assert bench.totals()[Stage.WORKER] == Totals(messages=1)
    assert bench.windows.unconfirmed() == {}


def test_what_was_passed_on_late_and_then_lost_is_missing_again(unwatched: AuditBench) -> None:
    bench = unwatched
    bench.watch("tap", NOW, NOW + 9000)
    bench.receive("1")
    bench.close(NOW + 12 + MAX_GAP_SECONDS)
    bench.watch("celery", NOW + 4000, NOW + 9000)  # not in its window, but since it was passed on
    bench.report("1", at=NOW + 5000)
    bench.correct(NOW + 5000)
    bench.correct(NOW + 5031 + MAX_GAP_SECONDS)
    assert bench.missing() == {(Stage.WORKER, "1")}


def test_what_is_reported_of_a_time_without_data_is_confirmed(unwatched: AuditBench) -> None:
    bench = unwatched
    bench.receive("1", "2")
    bench.close(NOW + 12 + MAX_GAP_SECONDS)
    assert bench.windows.unconfirmed() == {(BUS, Stage.LISTENER): 2}
    bench.report("1")
    bench.close(NOW + 50)
    assert bench.totals()[Stage.LISTENER] == Totals(messages=1)
    assert bench.open(State.RUNNING) == {(Stage.WORKER, "1")}
    bench.close(NOW + 81 + MAX_GAP_SECONDS)
    assert bench.windows.unconfirmed() == {(BUS, Stage.LISTENER): 1, (BUS, Stage.WORKER): 1}
    assert bench.windows.open_gaps() == {}
    assert not bench.windows.prune(NOW + 86500, 86400)
    bench.windows.refresh()
    assert bench.windows.unconfirmed() == {}


def test_a_great_many_messages_are_recovered_step_by_step(bench: AuditBench) -> None:
    ids = [str(n) for n in range(MAX_LOOKS + 10)]
    bench.receive(*ids)
    bench.close(NOW + 12)
    bench.report(*ids)
    while bench.windows.correct(NOW + 13):
        pass
    assert bench.totals()[Stage.LISTENER] == Totals(missing=len(ids), recovered=len(ids))
    assert bench.missing() == set()


def test_an_id_that_comes_again_while_it_is_missing_is_one_gap(bench: AuditBench) -> None:
    bench.receive("1")
    bench.close(NOW + 12)
    while bench.ledger.prune(NOW + 12, 0):
        pass
    bench.receive("1", at=NOW + 20)
    bench.close(NOW + 32)
    assert bench.windows.open_gaps() == {Place(BUS, TOPIC, Stage.LISTENER): OpenGap(1, 1, NOW + 20)}
    assert bench.totals()[Stage.LISTENER] == Totals(missing=2, recovered=1)


def pass_on(bench: AuditBench, task: str) -> None:
    with bench.ledger.write() as tables:
        tables.tap_reports.add(BUS, [TapReport("1", TOPIC, "passed", task)], NOW)


def work(bench: AuditBench, task: str, state: str) -> None:
    with bench.ledger.write() as tables:
        tables.tasks.receive(task, "task", NOW)
        tables.tasks.change(task, state, NOW)


def test_a_lost_task_is_healed_by_consuming_the_message_again(bench: AuditBench) -> None:
    bench.receive("1")
    pass_on(bench, "purged")
    bench.close(NOW + 12)
    assert bench.missing() == {(Stage.WORKER, "1")}
    pass_on(bench, "new")
    pass_on(bench, "purged")  # a batch of reports that was sent again
    bench.close(NOW + 20)
    assert bench.missing() == {(Stage.WORKER, "1")}
    work(bench, "new", "succeeded")
    bench.close(NOW + 20)
    assert bench.missing() == set()
    assert bench.totals()[Stage.WORKER] == Totals(missing=1, recovered=1)


@pytest.mark.parametrize(
    "events",
    [
        ("pass 1", "pass 2", "work 1"),
        ("pass 1", "pass 2", "work 2"),
        ("pass 1", "work 1", "pass 2"),
        ("pass 1", "work 2", "pass 2"),
        ("pass 1", "pass 2", "pass 1", "fail 2"),
        ("pass 1", "fail 1", "pass 2", "work 2"),
        ("pass 1", "fail 1", "work 2", "pass 2"),
        ("pass 1", "pass 2", "fail 1", "work 2"),
        ("pass 1", "pass 2", "work 2", "fail 1"),
    ],
)
def test_a_message_passed_on_twice_is_no_gap_if_either_task_ends(
    bench: AuditBench, events: tuple[str, ...]
) -> None:
    bench.receive("1")
    for event, _, task in (event.partition(" ") for event in events):
        if event == "pass":
            pass_on(bench, task)
        else:
            work(bench, task, "succeeded" if event == "work" else "failed")
    bench.close(NOW + 12)
    assert bench.totals()[Stage.WORKER] == Totals(messages=1)
    with bench.ledger.read() as tables:
        (record,) = tables.messages.find("1")
    assert record.task_state == ("succeeded" if "work" in " ".join(events) else "failed")
