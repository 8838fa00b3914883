"""The work behind the task of a message: what becomes of the handlers that this task sent."""

import pytest

from busmon.ledger.open_messages import State
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.windows import Totals
from busmon.message import Stage
from tests.support.audit import BUS, NOW, TOPIC, AuditBench

CLOSED = NOW + 12  # when the first window is closed
DUE = NOW + 40 + 30  # when its longest task is over, and it is known who watched


@pytest.fixture
def passed(bench: AuditBench) -> AuditBench:
    """A message that was passed on; all is watched."""
    bench.receive("1")
    bench.report("1")
    return bench


@pytest.mark.parametrize(
    ("root", "handlers", "closed", "later"),
    [
        ("succeeded", [], "reached", "reached"),
        ("succeeded", ["succeeded", "succeeded"], "reached", "reached"),
        ("succeeded", ["succeeded", "failed"], "missing", "missing"),
        ("succeeded", ["started", "failed"], "missing", "missing"),
        ("succeeded", ["succeeded", "revoked"], "missing", "missing"),
        ("succeeded", ["rejected"], "missing", "missing"),
        ("succeeded", ["succeeded", "sent"], "running", "missing"),  # its queue was purged
        ("succeeded", ["started"], "running", "missing"),  # its worker died
        ("succeeded", ["retried"], "running", "missing"),
        ("failed", [], "missing", "missing"),
        ("failed", ["succeeded"], "missing", "missing"),
        ("started", ["failed"], "-", "-"),  # it is still at the stage before
    ],
)
def test_a_message_is_open_until_all_its_tasks_have_succeeded(
    root: str, handlers: list[str], closed: str, later: str, passed: AuditBench
) -> None:
    passed.work("1", root)
    for number, state in enumerate(handlers):
        passed.handle("1", f"h{number}", state)

    def judged() -> str:
        totals = passed.totals()[Stage.HANDLERS]
        words = {
            "reached": totals == Totals(messages=1),
            "missing": totals == Totals(missing=1),
            "running": (Stage.HANDLERS, "1") in passed.open(State.RUNNING),
        }
        return " ".join(word for word, is_so in words.items() if is_so) or "-"

    passed.close(CLOSED)
    assert judged() == closed
    passed.close(DUE)
    assert judged() == later


def test_a_handler_that_fails_later_is_missing_at_once_and_heals(passed: AuditBench) -> None:
    passed.work("1")
    passed.handle("1", state="started")
    passed.close(CLOSED)
    assert passed.missing() == set()
    passed.handle("1", state="failed")
    passed.close(CLOSED + 1)
    assert passed.missing() == {(Stage.HANDLERS, "1")}
    passed.handle("1", state="succeeded")  # done again by hand
    passed.close(CLOSED + 2)
    assert passed.missing() == set()
    assert passed.totals()[Stage.HANDLERS] == Totals(missing=1, recovered=1)


def test_a_failure_is_a_fact_also_if_not_everything_was_observed(unwatched: AuditBench) -> None:
    bench = unwatched
    bench.watch("tap", NOW - 1, NOW + 200)
    bench.receive("1", "2", "3")
    bench.report("1", "2", "3")
    for one, state in (("1", "failed"), ("2", "started"), ("3", "started")):
        bench.work(one)
        bench.handle(one, state=state)
    bench.close(NOW + 60)
    assert bench.missing() == {(Stage.HANDLERS, "1")}
    assert bench.open(State.UNCONFIRMED) == {(Stage.HANDLERS, "2"), (Stage.HANDLERS, "3")}
    bench.handle("2", state="failed")
    bench.handle("3", state="succeeded")  # it may have other handlers, which nobody saw
    bench.close(NOW + 61)
    assert bench.missing() == {(Stage.HANDLERS, "1"), (Stage.HANDLERS, "2")}
    assert bench.open(State.UNCONFIRMED) == {(Stage.HANDLERS, "3")}
    assert bench.totals()[Stage.HANDLERS] == Totals(missing=2)


@pytest.mark.parametrize(
    ("began", "ended", "seen"),
    [(1, 5, True), (1, 11, False), (13, 20, True), (9, 13, False), (11, 13, False)],
)
def test_a_tree_has_succeeded_if_its_tasks_were_watched_all_the_time(
    began: float, ended: float, seen: bool, unwatched: AuditBench
) -> None:
    bench = unwatched
    bench.watch("tap", NOW - 1, NOW + 200)
    bench.watch("celery", NOW - 1, NOW + 10)
    bench.watch("celery", NOW + 12, NOW + 200)
    bench.receive("1")
    bench.report("1")
    bench.at = NOW + began
    bench.work("1", "started")
    bench.at = NOW + ended
    bench.work("1")
    bench.close(NOW + 60)
    assert (bench.totals()[Stage.HANDLERS] == Totals(messages=1)) is seen
    assert (bench.open(State.UNCONFIRMED) == {(Stage.HANDLERS, "1")}) is not seen


def test_a_message_that_is_consumed_again_recovers_by_its_new_tasks(passed: AuditBench) -> None:
    passed.work("1")
    passed.handle("1", state="failed")
    passed.close(CLOSED)
    assert passed.missing() == {(Stage.HANDLERS, "1")}
    with passed.ledger.write() as tables:
        tables.tap_reports.add(BUS, [TapReport("1", TOPIC, "passed", "task-again")], CLOSED)
    passed.work("again")
    passed.handle("again", state="started")
    passed.close(CLOSED + 1)
    assert passed.missing() == {(Stage.HANDLERS, "1")}
    passed.handle("again")
    passed.close(CLOSED + 2)
    assert passed.missing() == set()


def test_a_tree_that_is_being_pruned_recovers_nothing(passed: AuditBench) -> None:
    passed.work("1")
    passed.handle("1", "failing", state="failed")
    passed.at = NOW + 1
    passed.handle("1", "other")
    passed.close(CLOSED)
    for before in (NOW + 0.001, NOW + 0.5, NOW + 9):
        with passed.ledger.write() as tables:
            tables.shares.prune("tasks", before)
            left = len(tables.tasks.tree("task-1"))
        passed.close(CLOSED + 1)
        assert passed.missing() == {(Stage.HANDLERS, "1")}, f"{left} tasks are left"
    assert left == 0


def test_of_two_trees_of_a_message_one_is_enough(passed: AuditBench) -> None:
    with passed.ledger.write() as tables:
        tables.tap_reports.add(BUS, [TapReport("1", TOPIC, "passed", "task-2")], NOW)
    for one, state in (("1", "failed"), ("2", "succeeded")):
        passed.work(one)
        passed.handle(one, state=state)
    passed.close(CLOSED)
    assert passed.totals()[Stage.HANDLERS] == Totals(messages=1)


def test_a_task_that_is_given_up_is_missing_at_its_worker(passed: AuditBench) -> None:
    passed.work("1", "started")
    passed.close(CLOSED)
    passed.work("1", "revoked")
    passed.close(CLOSED + 1)
    assert passed.missing() == {(Stage.WORKER, "1")}
