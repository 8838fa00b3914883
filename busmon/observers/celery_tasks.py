"""Celery's events of the listener's tasks and of their trees: collected, then written together.

The listener publishes the root of a tree. `task-sent` and `task-received` have the name of a task
and the id of its root. For the events that follow, the ledger knows both, also after a restart.
Only kind, ids and name of an event are kept, since its arguments contain message bodies. The
times are busmon's own: Celery shifts those of a worker in another time zone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any, NamedTuple, TypeGuard

from busmon.ledger.tasks import Origin, TaskChanges, Tasks
from busmon.text import printable

STATES = {
    "task-sent": "sent",
    "task-received": "received",
    "task-started": "started",
    "task-retried": "retried",
    "task-succeeded": "succeeded",
    "task-failed": "failed",
    "task-revoked": "revoked",
    "task-rejected": "rejected",
}
OTHER = "__other__"  # the name that stands for all tasks that are not counted by their name
MAX_NAMES = 100  # that are counted
MAX_LENGTH = 255  # of an id and of a name
MAX_UNWRITTEN_EVENTS = 20_000  # kept while they cannot be written
MAX_WRITTEN_EVENTS = 500  # of one transaction, which holds up counting
# Events of several workers may overtake each other: a task can be heard of before its root.
ORPHAN_SECONDS = 5.0
MAX_ORPHAN_EVENTS = 5_000


class TaskNames:
    """The names of tasks: which are roots, and under which name each one is counted.

    `roots` and `handlers` are names and patterns. At most `MAX_NAMES` names are counted.
    """

    def __init__(self, roots: Iterable[str], handlers: Iterable[str] = ()) -> None:
        self._roots = tuple(roots)
        self._counted = (*self._roots, *handlers)
        self.known = {name for name in self._counted if "*" not in name}

    def is_root(self, name: str) -> bool:
        """Return whether the listener publishes a task of this name."""
        return any(fnmatchcase(name, pattern) for pattern in self._roots)

    def label(self, name: str) -> str:
        """Return the name under which a task is counted."""
        if name in self.known:
            return name
        if len(self.known) < MAX_NAMES and any(fnmatchcase(name, one) for one in self._counted):
            self.known.add(name)
            return name
        return OTHER


class _TaskEvent(NamedTuple):
    state: str
    task: str  # its id
    at: float  # Unix time
    name: str = ""  # only if it was sent or received
    origin: Origin | None = None  # the same


Counts = Counter[tuple[str, str]]  # by event and name
Orphans = dict[str, list[_TaskEvent]]  # by task: the events of each, in order


@dataclass(slots=True)
class Written:
    """What `TaskEvents.write` did, for `commit`."""

    counts: Counts = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)  # by reason
    orphans: Orphans = field(default_factory=dict)  # to be tried again


class TaskEvents:
    """The events that are not yet written, and the number of those that are."""

    def __init__(self, names: TaskNames) -> None:
        self._names = names
        self._unwritten: list[_TaskEvent] = []
        self._orphans: Orphans = {}
        # The events written since the start. Of a task that is in no tree of the listener's, only
        # the reception is counted: a sign that a worker takes tasks.
        self.counts: Counts = Counter(_zeros([*sorted(names.known), OTHER]))

    def __len__(self) -> int:
        return len(self._unwritten) + len(self._orphans)

    def too_many(self) -> bool:
        """Return whether one write leaves some of the events unwritten."""
        return len(self._unwritten) > MAX_WRITTEN_EVENTS

    def add(self, event: Mapping[str, Any], now: float) -> bool:
        """Add an event of a task. Return whether there was room for it."""
        state, task = STATES[event["type"]], event.get("uuid")
        if not _usable(task) or event.get("requeue"):
            return True
        name, origin = "", None
        if state in {"sent", "received"}:
            name, origin = self._begin(event, task)
            if origin is None:
                self.counts["received", OTHER] += state == "received"
                return True
        if len(self._unwritten) >= MAX_UNWRITTEN_EVENTS:
            return False
        self._unwritten.append(_TaskEvent(state, task, now, name, origin))
        return True

    def write(self, tasks: Tasks, now: float) -> Written:
        """Write the oldest events. `commit` takes what this returns, after the transaction."""
        written = Written()
        events = [*chain(*self._orphans.values()), *self._unwritten[:MAX_WRITTEN_EVENTS]]
        ids = {event.task for event in events} | {one.origin.root for one in events if one.origin}
        with tasks.changing(ids) as changes:
            for event in events:
                if event.task in written.orphans:
                    written.orphans[event.task].append(event)
                elif event.origin:
                    self._start(changes, event, event.origin, written)
                elif (name := changes.name(event.task)) is not None:
                    changes.change(event.task, event.state, event.at)
                    written.counts[event.state, self._names.label(name)] += 1
        _forget(written, now)
        return written

    def commit(self, written: Written) -> None:
        """Count the events that are now on disk, and drop them here."""
        del self._unwritten[:MAX_WRITTEN_EVENTS]
        self._orphans = written.orphans
        # A copy, since another thread may be reading the old one. A name that is new has all its
        # series from now on: that of its failures exists before the first one.
        counts = Counter(_zeros({name for _, name in written.counts}) | self.counts)
        counts.update(written.counts)
        self.counts = counts

    def _begin(self, event: Mapping[str, Any], task: str) -> tuple[str, Origin | None]:
        """Return name and origin of a task; no origin if it is in no tree of the listener's."""
        name, root, parent = event.get("name"), event.get("root_id"), event.get("parent_id")
        if not isinstance(name, str):
            return "", None
        name = printable(name[:MAX_LENGTH])[:MAX_LENGTH]
        if self._names.is_root(name):
            return name, Origin(task)
        if not _usable(root) or root == task:
            return name, None
        return name, Origin(root, parent if _usable(parent) else None)

    def _start(
        self, changes: TaskChanges, event: _TaskEvent, origin: Origin, written: Written
    ) -> None:
        if origin.root != event.task:
            if not changes.is_root(origin.root):
                written.orphans[event.task] = [event]
                return
            if changes.name(event.task) is None and not changes.has_room(origin.root):
                written.dropped["tree-too-large"] += 1
                return
        begin = changes.send if event.state == "sent" else changes.receive
        begin(event.task, event.name, event.at, origin)
        written.counts[event.state, self._names.label(event.name)] += 1


def _zeros(names: Iterable[str]) -> dict[tuple[str, str], int]:
    return {(state, name): 0 for name in names for state in STATES.values()}


def _usable(identity: object) -> TypeGuard[str]:
    """Return whether it is an id that each ledger stores as it is."""
    return (
        isinstance(identity, str)
        and identity.isascii()
        and "\0" not in identity
        and 0 < len(identity) <= MAX_LENGTH
    )


def _forget(written: Written, now: float) -> None:
    """Drop the orphans whose root did not come: these are in no tree of the listener's."""
    room = MAX_ORPHAN_EVENTS
    for task, events in reversed(list(written.orphans.items())):
        room -= len(events)
        if room < 0:
            written.dropped["orphan"] += len(events)
        elif 0 <= now - events[0].at < ORPHAN_SECONDS:
            continue
        written.counts["received", OTHER] += sum(one.state == "received" for one in events)
        del written.orphans[task]
