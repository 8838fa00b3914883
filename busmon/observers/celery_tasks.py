"""Celery's events of the configured tasks: collected in memory, then written together.

Only `task-received` has the name of its task. For the events that follow, the ledger knows it,
also after a restart. Only kind, task id and name of an event are kept, since its arguments
contain message bodies. The times are busmon's own: Celery shifts those of a worker in another
time zone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from busmon.ledger.tasks import Tasks

STATES = {
    "task-received": "received",
    "task-started": "started",
    "task-retried": "retried",
    "task-succeeded": "succeeded",
    "task-failed": "failed",
}
OTHER = "__other__"  # the name that stands for all tasks that are not configured
MAX_UNWRITTEN_EVENTS = 20_000  # kept while they cannot be written


class _TaskEvent(NamedTuple):
    state: str
    task: str  # its id
    name: str  # empty unless received
    at: float  # Unix time


class TaskEvents:
    """The events that are not yet written, and the number of those that are."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._unwritten: list[_TaskEvent] = []
        # The events written since the start, by event and name.
        # Other tasks are only counted, when a worker receives them: a sign that it takes tasks.
        self.counts = Counter({(state, name): 0 for state in STATES.values() for name in names})
        self.counts["received", OTHER] = 0

    def __len__(self) -> int:
        return len(self._unwritten)

    def add(self, event: Mapping[str, Any], now: float) -> bool:
        """Add an event of a task. Return whether there was room for it."""
        state, task, name = STATES[event["type"]], event.get("uuid"), event.get("name")
        if not (isinstance(task, str) and task.isascii() and len(task) <= 255):
            return True
        if state == "received" and name not in self._names:
            self.counts["received", OTHER] += 1
            return True
        if len(self._unwritten) >= MAX_UNWRITTEN_EVENTS:
            return False
        # Of other events, it could be any that somebody published.
        known = str(name) if state == "received" else ""
        self._unwritten.append(_TaskEvent(state, task, known, now))
        return True

    def write(self, tasks: Tasks) -> Counter[tuple[str, str]]:
        """Write the events. Return their numbers, which `commit` takes after the transaction."""
        numbers: Counter[tuple[str, str]] = Counter()
        for state, task, name, at in self._unwritten:
            if state == "received":
                tasks.receive(task, name, at)
                numbers[state, name] += 1
            elif known := tasks.get(task):
                tasks.change(task, state, at)
                numbers[state, known.name] += 1
        return numbers

    def commit(self, numbers: Counter[tuple[str, str]]) -> None:
        """Count the events that are now on disk, and drop them here."""
        self._unwritten.clear()
        counts = Counter(self.counts)  # a copy, since another thread may be reading the old one
        counts.update(numbers)
        self.counts = counts
