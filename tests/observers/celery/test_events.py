"""Events as they may come, without a broker."""

import json
import tracemalloc

import pytest

from busmon.ledger.ledger import Ledger
from busmon.observers.celery_tasks import TaskEvents
from busmon.observers.celery_workers import Workers
from tests.support.celery_observer import Watch, enveloped, event
from tests.support.celery_worker import PROCESS_MESSAGE


@pytest.mark.parametrize(
    ("kinds", "state", "retries"),
    [
        ("received", "received", 0),
        ("received started failed", "failed", 0),
        ("received started retried received started succeeded", "succeeded", 1),
        ("received started failed received", "received", 0),  # delivered again
        ("received started succeeded received started failed", "succeeded", 0),
        ("received received", "received", 0),
        ("started succeeded", None, None),  # of which task?
    ],
)
def test_the_newest_event_gives_the_state_and_success_is_final(
    kinds: str, state: str | None, retries: int | None
) -> None:
    ledger = Ledger(":memory:")
    events = TaskEvents(["mine"])
    for number, kind in enumerate(kinds.split()):
        events.add(event(kind, name="mine"), number)
    with ledger.write() as tables:
        events.write(tables.tasks)
        found = tables.tasks.get("t")
    assert (found and found.state, found and found.retries) == (state, retries)
    finished = found and found.finished_at is not None
    assert bool(finished) == (state in ("succeeded", "failed"))
    ledger.close()


@pytest.mark.parametrize(
    "strange",
    [
        event("received", name="another"),
        event("received", name=["mine"]),
        event("received", task=None, name="mine"),
        event("received", task="x" * 256, name="mine"),
        event("received", task="\udcff", name="mine"),
        {"type": "task-received"},
    ],
)
def test_an_event_of_no_configured_task_is_ignored(strange: dict[str, object]) -> None:
    events = TaskEvents(["mine"])
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
    events = TaskEvents(["mine"])
    while events.add(event("received", str(len(events)), name="mine"), 1.0):
        pass
    assert len(events) == 20_000


def test_long_names_that_somebody_publishes_are_not_kept() -> None:
    events, workers = TaskEvents(["mine"]), Workers(any_events=False)
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
