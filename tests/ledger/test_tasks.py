"""What workers did is written for many events at once, and as if each had come alone."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from busmon.ledger import tasks
from busmon.ledger.ledger import Ledger
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.tasks import Origin
from busmon.observers.celery_tasks import STATES, TaskEvents, TaskNames
from tests.ledger.sql import foreign

NOW = 1000.0
ROOTS, CHILDREN = ("r1", "r2", "r3"), ("c1", "c2", "c3")
STATEMENTS = (tasks.GET_WITH_SIZES, tasks.PASSED_TWICE, tasks.SAVE, tasks.SWAP)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("statement", STATEMENTS)
def test_events_of_tasks_are_written_without_a_scan(statement: str, ledger: Ledger) -> None:
    statement = statement.format(ids="?, ?")
    with foreign(ledger.name) as db:
        plan = [
            row[3]
            for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", ["x"] * statement.count("?"))
        ]
    assert [step for step in plan if step.startswith("SCAN")] == []


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_more_tasks_change_at_once_than_a_statement_can_name(ledger: Ledger) -> None:
    with ledger.write() as tables:
        tables.tasks.receive("0", "mine", NOW)
        with tables.tasks.changing([str(n) for n in range(2**15 + 1)]) as changes:  # or 2 ** 16
            for task in ("0", str(2**15)):
                changes.receive(task, "mine", NOW, Origin(task))
                changes.change(task, "succeeded", NOW)
    with ledger.read() as tables:
        found = (tables.tasks.get(task) for task in ("0", str(2**15)))
        assert [task and task.state for task in found] == ["succeeded"] * 2


@pytest.mark.parametrize(
    ("events", "counts"),
    [
        ("failed 1", "1"),
        ("revoked 1", "2"),
        ("failed 1, failed 2", "1"),
        ("failed 1, succeeded 2", "2"),
        ("failed 2, failed 1", "2"),
        ("failed 2, succeeded 1", "1"),
        ("succeeded 1, succeeded 2", "1"),
        ("succeeded 2, succeeded 1", "2"),
    ],
)
@pytest.mark.parametrize("place", [":memory:"])
def test_of_two_tasks_of_a_message_the_better_one_counts(
    ledger: Ledger, events: str, counts: str
) -> None:
    with ledger.write() as tables:
        tables.tap_reports.add("fedora", [TapReport("m", "t", "passed", "1")], NOW)
        tables.tap_reports.add("fedora", [TapReport("m", "t", "passed", "2")], NOW)
        with tables.tasks.changing("12") as changes:
            for task in "12":
                changes.receive(task, "mine", NOW, Origin(task))
            for state, task in map(str.split, events.split(", ")):
                changes.change(task, state, NOW)
    with ledger.read() as tables:
        assert [report.task for report in tables.tap_reports.of("fedora")] == [counts]


@pytest.mark.parametrize("place", [":memory:"])
@pytest.mark.parametrize("later", [0.0, 5.0])
def test_a_task_is_sent_after_its_root_whenever_its_events_come(
    ledger: Ledger, later: float
) -> None:
    with ledger.write() as tables:
        tables.tasks.send("root", "mine", NOW + later, Origin("root"))
        tables.tasks.receive("child", "run_a", NOW, Origin("root"))
        assert [task.id for task in tables.tasks.tree("root")] == ["root", "child"]


def event(state: str, task: str, **origin: object) -> dict[str, object]:
    name = "mine" if task in ROOTS else "run_a"
    return {"type": f"task-{state}", "uuid": task, "name": name, **origin}


TASKS = *ROOTS, *CHILDREN
EVENTS = st.builds(
    event,
    st.sampled_from([state.removeprefix("task-") for state in STATES]),
    st.sampled_from(TASKS),
    root_id=st.sampled_from((*ROOTS, "unknown")),
    parent_id=st.sampled_from(TASKS),
)
# A root that the listener publishes for a message, maybe for the second time; the end of a batch.
PASSED = st.builds(
    TapReport, st.sampled_from("ab"), st.just("t"), st.just("passed"), st.sampled_from(ROOTS)
)
Step = dict[str, object] | TapReport | None
TWICE: list[Step] = [
    *(
        TapReport(one, "t", "passed", task)
        for one, task in zip("aabb", (*ROOTS[:2], *ROOTS[1:]), strict=True)
    ),
    *(event("received", task, root_id=task) for task in ROOTS),
]
STEPS = st.builds(
    list[Step].__add__,
    st.sampled_from([TWICE, []]),
    st.lists(EVENTS | EVENTS | EVENTS | PASSED | st.none(), max_size=40),
)


class Undone(Exception):
    """Ends a transaction."""


def outcome(ledger: Ledger, steps: list[Step], *, alone: bool) -> list[object]:
    """Return what would be on record, and counted, after some steps. `alone`: no batches."""
    events, found = TaskEvents(TaskNames(["mine"], ["run_*"])), list[object]()
    with suppress(Undone), ledger.write() as tables:

        def write(now: float) -> None:
            written = events.write(tables.tasks, now)
            events.commit(written)
            found.extend(written.dropped.elements())

        for number, step in enumerate(steps):
            now = NOW + number // 3 / 1000  # some come within the same millisecond
            if isinstance(step, dict):
                assert events.add(step, now)
            if alone or not isinstance(step, dict):
                write(now)
            if isinstance(step, TapReport):
                tables.tap_reports.add("fedora", [step], NOW)
        for _ in range(3):
            write(NOW + 1)
        found += [+events.counts, sorted(tables.tap_reports.of("fedora"))]
        found += [(tables.tasks.get(one), tables.tap_reports.message_of(one)) for one in TASKS]
        raise Undone
    return found


# What is written for an example is undone.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_events_written_at_once_end_as_those_written_one_by_one(
    ledger: Ledger, steps: list[Step]
) -> None:
    assert outcome(ledger, steps, alone=False) == outcome(ledger, steps, alone=True)
