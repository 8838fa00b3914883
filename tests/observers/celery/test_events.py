"""Events as they may come, without a broker."""

import json
import tracemalloc
from collections import Counter

import pytest

from busmon.ledger.ledger import Ledger
from busmon.ledger.tasks import MAX_TREE_TASKS, Task
from busmon.observers.celery_tasks import MAX_NAMES, ORPHAN_SECONDS, OTHER, TaskEvents, TaskNames
from busmon.observers.celery_workers import Workers
from tests.support.celery_observer import Watch, enveloped, event
from tests.support.celery_worker import PROCESS_MESSAGE

NAMES = TaskNames(["mine"], ["run_*"])


class Work:
    """Events of workers, and what is stored of them. Each event comes 0.1 s after the other."""

    def __init__(self) -> None:
        self.ledger = Ledger(":memory:")
        self.events = TaskEvents(TaskNames(["mine"], ["run_*"]))
        self.now = 1000.0
        self.dropped = Counter[str]()

    def add(self, *events: dict[str, object]) -> None:
        for one in events:
            self.now += 0.1
            assert self.events.add(one, self.now)

    def write(self) -> None:
        while self.events.too_many():
            self._write()
        self._write()

    def _write(self) -> None:
        with self.ledger.write() as tables:
            written = self.events.write(tables.tasks, self.now)
        self.events.commit(written)
        self.dropped.update(written.dropped)

    def task(self, task: str) -> Task | None:
        with self.ledger.read() as tables:
            return tables.tasks.get(task)

    def tree(self, root: str = "r") -> list[str]:
        with self.ledger.read() as tables:
            return [f"{task.id} {task.state}" for task in tables.tasks.tree(root)]

    def counted(self) -> dict[tuple[str, str], int]:
        return {key: number for key, number in self.events.counts.items() if number}


def child(kind: str, task: str, root: object = "r", **fields: object) -> dict[str, object]:
    return event(kind, task, **({"name": "run_a", "root_id": root} | fields))


ROOT = event("received", "r", name="mine", root_id="r")


@pytest.mark.parametrize(
    "order", [[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [1, 2, 3, 0, 4], [1, 2, 3, 4, 0], [2, 1, 3, 4, 0]]
)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_tree_is_stored_in_whatever_order_its_events_come(
    order: list[int], at_once: bool
) -> None:
    work = Work()
    events = [
        ROOT,
        child("sent", "h", parent_id="r"),
        child("received", "h", parent_id="r"),
        event("started", "h"),
        event("failed", "h"),
    ]
    for number in order:
        work.add(events[number])
        if not at_once:
            work.write()
    work.write()
    work.write()
    assert work.tree() in (["r received", "h failed"], ["h failed", "r received"])
    assert work.counted() == {
        ("received", "mine"): 1,
        **{(state, "run_a"): 1 for state in ("sent", "received", "started", "failed")},
    }
    work.ledger.close()


def test_tasks_of_other_trees_are_only_counted() -> None:
    """Of these, only that a worker received them: a sign that it takes tasks."""
    work = Work()
    work.add(
        event("received", "periodic", name="run_b", root_id="periodic"),
        child("sent", "a", root="periodic"),
        child("received", "a", root="periodic"),
        event("succeeded", "a"),
    )
    work.write()
    assert work.counted() == {("received", OTHER): 1}
    assert work.events
    work.now += ORPHAN_SECONDS
    work.write()
    assert work.counted() == {("received", OTHER): 2}
    assert not work.events
    with work.ledger.read() as tables:
        assert not tables.tasks.exist()
    work.ledger.close()


def test_a_child_may_claim_anything_and_costs_no_more_than_the_limit() -> None:
    work = Work()
    work.add(
        ROOT,
        child("sent", "h"),
        child("received", "of-a-child", root="h"),
        child("received", "own", root="own"),
        child("received", "number", root=5),
        child("received", "long", root="x" * 256),
        child("received", "circle", parent_id="circle"),
        child("received", "one", parent_id="other"),
        child("received", "other", parent_id="one"),
        child("received", "names", name="\n\x1b" * 300),
    )
    work.write()
    assert sorted(work.tree()) == [
        "circle received",
        "h sent",
        "names received",
        "one received",
        "other received",
        "r received",
    ]
    odd = work.task("names")
    assert odd
    assert odd.name.isprintable()
    assert len(odd.name) == 255
    assert work.counted()["received", OTHER] == 4
    work.add(*(child("sent", f"h{number}") for number in range(1100)))
    work.add(event("received", "h1099", name="run_a", root_id="r"), event("succeeded", "h0"))
    work.write()
    assert len(work.tree()) == MAX_TREE_TASKS
    assert work.dropped == {"tree-too-large": 1100 + 6 - MAX_TREE_TASKS + 1}
    work.ledger.close()


def test_names_are_counted_up_to_a_limit() -> None:
    work = Work()
    work.add(ROOT)
    work.add(*(child("sent", f"h{number}", name=f"run_{number}") for number in range(200)))
    work.add(child("sent", "unknown", name="walk"))
    work.write()
    counted = work.counted()
    assert len({name for _, name in counted} - {OTHER}) == MAX_NAMES
    assert counted["sent", OTHER] == 200 - (MAX_NAMES - 1) + 1
    assert work.events.counts["failed", "run_0"] == 0
    assert ("failed", "run_0") in work.events.counts  # before the first one
    work.ledger.close()


def test_what_waits_for_its_root_is_bounded() -> None:
    work = Work()
    for _ in range(3):
        events = [child("sent", f"{work.now}-{number}", root="none") for number in range(2000)]
        assert all(work.events.add(one, work.now) for one in events)
        work.write()
        work.now += 0.5
    assert work.dropped == {"orphan": 1000}
    assert len(work.events) == 5000
    work.ledger.close()


@pytest.mark.parametrize(
    ("kinds", "state", "retries"),
    [
        ("received", "received", 0),
        ("received started failed", "failed", 0),
        ("received started retried received started succeeded", "succeeded", 1),
        ("received started failed received", "received", 0),  # delivered again
        ("received started succeeded received started failed", "succeeded", 0),
        ("received received", "received", 0),
        ("sent", "sent", 0),
        ("sent received started sent retried", "retried", 1),
        ("received started failed sent", "failed", 0),  # one event overtook another
        ("sent revoked", "revoked", 0),
        ("received rejected received", "received", 0),
        ("started succeeded", None, None),  # of which task?
    ],
)
def test_the_newest_event_gives_the_state_and_success_is_final(
    kinds: str, state: str | None, retries: int | None
) -> None:
    work = Work()
    for kind in kinds.split():
        work.add(event(kind, name="mine"))
    work.write()
    found = work.task("t")
    assert (found and found.state, found and found.retries) == (state, retries)
    finished = found and found.finished_at is not None
    assert bool(finished) == (state in ("succeeded", "failed", "revoked", "rejected"))
    work.ledger.close()


@pytest.mark.parametrize(
    "strange",
    [
        event("received", name="another"),
        event("received", name=["mine"]),
        event("received", task=None, name="mine"),
        event("received", task="x" * 256, name="mine"),
        event("received", task="\udcff", name="mine"),
        event("received", task="a\0b", name="mine"),
        event("rejected", requeue=True),  # a worker will receive it again
        {"type": "task-received"},
    ],
)
def test_an_event_of_no_configured_task_is_ignored(strange: dict[str, object]) -> None:
    events = TaskEvents(NAMES)
    assert events.add(strange, 1.0)
    assert not events


def test_each_event_without_room_is_counted() -> None:
    watch = Watch(":memory:", "redis://localhost")
    number = 20_003
    events = [event("received", str(n), name=PROCESS_MESSAGE) for n in range(number)]
    for start in range(0, number, 1000):
        watch.observer.receive(enveloped(json.dumps(events[start : start + 1000]).encode()))
    assert watch.value("busmon_celery_events_dropped_total", reason="unwritten") == 3
    watch.ledger.close()


def test_events_that_cannot_be_written_are_kept_up_to_a_limit() -> None:
    events = TaskEvents(NAMES)
    while events.add(event("received", str(len(events)), name="mine"), 1.0):
        pass
    assert len(events) == 20_000


def test_long_names_that_somebody_publishes_are_not_kept() -> None:
    events, workers = TaskEvents(NAMES), Workers(any_events=False)
    tracemalloc.start()
    try:
        for number in range(100):
            long = f"{number}{'x' * 100_000}"
            events.add(event("started", str(number), name=long), 1.0)
            workers.add(beat(0) | {"hostname": long}, 1.0)
        assert tracemalloc.get_traced_memory()[0] < 1024**2
    finally:
        tracemalloc.stop()
    assert len(events) == 100


def beat(processed: int) -> dict[str, object]:
    return {"type": "worker-heartbeat", "hostname": "w", "processed": processed}


@pytest.mark.parametrize(
    ("events", "silent"),
    [
        ([beat(5), beat(5), beat(5)], False),  # idle
        ([beat(0), event("received"), beat(1), beat(1)], False),
        ([beat(0), beat(1), event("received"), beat(1)], False),  # a little late
        ([beat(0), beat(1), beat(1)], True),
        ([beat(0), beat(1), beat(2), beat(3)], True),
        ([beat(0), beat(1), beat(1), event("started"), beat(2)], False),
        ([beat(0), beat(1), beat(1), {"type": "worker-offline", "hostname": "w"}], False),
        ([beat(9), beat(0), beat(0)], False),  # started anew
        ([beat(0), event("sent"), beat(1), event("sent"), beat(1)], True),
    ],
)
def test_a_worker_whose_count_grows_without_an_event_is_silent(
    events: list[dict[str, object]], silent: bool
) -> None:
    workers = Workers(any_events=False)
    for number, each in enumerate(events):
        workers.add(each, number)
    assert workers.silent(10.0) == (["w"] if silent else [])
    assert workers.silent(100.0) == []  # gone
