"""What Celery's events say of the configured tasks, gathered and then written at once.

Only `task-received` names its task; the table `tasks` knows the name for those that follow,
also over a restart. Of an event its kind, task id and name are taken and nothing else: its
arguments hold message bodies. The times are busmon's own: Celery shifts those of a worker
in another time zone.
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
WAITING = 20_000  # events kept while they can't be written


class _Event(NamedTuple):
    state: str
    task: str  # its id
    name: str  # empty unless received
    at: float  # Unix time


class TaskEvents:
    """Events not yet written, and the numbers of those that were, by event and name."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._waiting: list[_Event] = []
        self.counts = Counter({(state, name): 0 for state in STATES.values() for name in names})

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event: Mapping[str, Any], now: float) -> bool:
        """Take what an event says of a task, and tell whether there was room for it."""
        state, task, name = STATES[event["type"]], event.get("uuid"), event.get("name")
        if not (isinstance(task, str) and task.isascii() and len(task) <= 255):
            return True
        if state == "received" and name not in self._names:
            return True
        if len(self._waiting) >= WAITING:
            return False
        self._waiting.append(_Event(state, task, str(name or ""), now))
        return True

    def write(self, tasks: Tasks) -> Counter[tuple[str, str]]:
        """Write what waits; returns the numbers to be given to `written` after the commit."""
        numbers: Counter[tuple[str, str]] = Counter()
        for state, task, name, at in self._waiting:
            if state == "received":
                tasks.receive(task, name, at)
                numbers[state, name] += 1
            elif known := tasks.get(task):
                tasks.change(task, state, at)
                numbers[state, known.name] += 1
        return numbers

    def written(self, numbers: Counter[tuple[str, str]]) -> None:
        """Count what is on disk now, and forget the events."""
        self._waiting.clear()
        counts = Counter(self.counts)  # another thread may be reading the old one
        counts.update(numbers)
        self.counts = counts
