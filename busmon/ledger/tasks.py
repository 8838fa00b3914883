"""What the workers did with each task, by Celery's events.

The listener publishes the root of a tree of tasks: `process_message`, which starts a handler for
each thing that is to be done. Celery gives each task of the tree the id of the root.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from busmon.ledger.connection import Connection, in_parts, places
from busmon.ledger.messages import FINISHED
from busmon.ledger.values import milliseconds, seconds

MAX_TREE_TASKS = 1000  # of one root; the others are not stored
ENDED = FINISHED | {"revoked", "rejected"}

COLUMNS = "id, name, state, root, parent, sent_at, received_at, started_at, finished_at, retries"
GET = f"SELECT {COLUMNS} FROM tasks"  # noqa: S608 - our own text
GET_WITH_SIZES = f"""
SELECT (SELECT count(*) FROM tasks AS member WHERE member.root = tasks.id), {COLUMNS}
FROM tasks WHERE id IN ({{ids}})
"""  # noqa: S608 - our own text
SAVE = f"""
INSERT INTO tasks ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, received_at = excluded.received_at,
    started_at = excluded.started_at, finished_at = excluded.finished_at, retries = excluded.retries
"""  # noqa: S608 - our own text
# A task is made of one message, whatever a tap claims.
MAX_REPORTS = 10
PASSED_TWICE = """
SELECT id, bus, task, other_task FROM tap_reports WHERE other_task IN ({ids}) LIMIT ?
"""
SWAP = "UPDATE tap_reports SET task = ?, other_task = ? WHERE id = ? AND bus = ?"


class Origin(NamedTuple):
    """Where a task comes from: the ids of the root of its tree, and of the task that sent it."""

    root: str
    parent: str | None = None


class Task(NamedTuple):
    """What is known of a task; Unix times."""

    id: str
    name: str
    state: str  # sent, received, started, retried, succeeded, failed, revoked or rejected
    root: str  # the id of the task at the root of its tree; its own for that one
    parent: str | None  # the id of the task that sent it; None: the root did, or it is the root
    sent_at: float | None  # when it was received if no event says when it was sent
    received_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    retries: int = 0


class Tasks:
    """The tasks of which an event came."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def exist(self) -> bool:
        """Return whether any task is on record."""
        return bool(self._db.execute("SELECT EXISTS (SELECT 1 FROM tasks)").fetchone()[0])

    def get(self, task: str) -> Task | None:
        """Return what is known of a task, by its id."""
        found = self._db.execute(f"{GET} WHERE id = ?", (task,)).fetchone()
        return _task(found) if found else None

    def tree(self, root: str) -> list[Task]:
        """Return the tasks of a tree in the order in which they were sent; the root, too."""
        rows = self._db.execute(
            f"{GET} WHERE root = ? ORDER BY sent_at, id LIMIT ?", (root, MAX_TREE_TASKS)
        )
        return list(map(_task, rows))

    @contextmanager
    def changing(self, ids: Collection[str]) -> Iterator["TaskChanges"]:
        """Yield changes of these tasks, which are then written.

        The roots of their trees must be among them.
        """
        changes = TaskChanges(self._db, ids)
        yield changes
        changes.write()

    def send(self, task: str, name: str, at: float, origin: Origin) -> None:
        """Write that a task was sent, unless it is on record already."""
        with self.changing({task, origin.root}) as changes:
            changes.send(task, name, at, origin)

    def receive(self, task: str, name: str, at: float, origin: Origin | None = None) -> None:
        """Write that a worker received a task. Without an origin it is the root of a tree."""
        origin = origin or Origin(task)
        with self.changing({task, origin.root}) as changes:
            changes.receive(task, name, at, origin)

    def change(self, task: str, state: str, at: float) -> None:
        """Write the new state of a task that is on record."""
        with self.changing({task}) as changes:
            changes.change(task, state, at)


@dataclass(slots=True)
class _PassedTwice:
    """A message that was passed on as two tasks."""

    key: tuple[str | bytes, int]  # id and bus
    task: str | None  # the one that counts
    other_task: str | None


class TaskChanges:
    """Changes of some tasks: what is known of them is read at once, and written at once.

    A database can be far away, and recording waits meanwhile. To name any other task is a
    KeyError.
    """

    def __init__(self, db: Connection, ids: Collection[str]) -> None:
        self._db = db
        self._tasks: dict[str | None, Task | None] = dict.fromkeys(ids)
        self._changed: dict[str, Task] = {}
        self._sizes: dict[str, int] = {}  # of trees, by root
        self._passed_twice: dict[str | None, list[_PassedTwice]] = {}  # by the other task
        self._swapped: dict[tuple[str | bytes, int], _PassedTwice] = {}
        self._read()

    def write(self) -> None:
        """Write the changes."""
        tasks, messages = self._changed.values(), self._swapped.values()
        self._db.executemany(SAVE, [(*t[:5], *map(milliseconds, t[5:9]), t.retries) for t in tasks])
        self._db.executemany(SWAP, [(one.task, one.other_task, *one.key) for one in messages])

    def name(self, task: str) -> str | None:
        """Return the name of a task, None if it is not on record."""
        known = self._tasks[task]
        return known and known.name

    def is_root(self, task: str) -> bool:
        """Return whether a task is on record as the root of a tree."""
        known = self._tasks[task]
        return known is not None and known.root == task

    def has_room(self, root: str) -> bool:
        """Return whether a tree has fewer tasks than are stored of one."""
        return self._sizes.get(root, 0) < MAX_TREE_TASKS

    def send(self, task: str, name: str, at: float, origin: Origin) -> None:
        """Note that a task was sent, unless it is on record already.

        The event of what was sent can come after that of its reception.
        """
        if self._tasks[task] is None:
            self._add(task, name, at, origin)

    def receive(self, task: str, name: str, at: float, origin: Origin) -> None:
        """Note that a worker received a task.

        What succeeded once is done, even if the broker delivers it again.
        """
        known = self._tasks[task] or self._add(task, name, at, origin)
        if known.state != "succeeded":
            received = _exact(at) if known.received_at is None else known.received_at
            self._put(known._replace(state="received", received_at=received, finished_at=None))

    def change(self, task: str, state: str, at: float) -> None:
        """Note the new state of a task, if it is on record."""
        known = self._tasks[task]
        if known is None or known.state == "succeeded":
            return
        self._put(
            known._replace(
                state=state,
                started_at=_exact(at) if state == "started" else known.started_at,
                finished_at=_exact(at) if state in ENDED else None,
                retries=known.retries + (state == "retried"),
            )
        )
        if state in FINISHED:
            self._prefer(task, state)

    def _add(self, task: str, name: str, at: float, origin: Origin) -> Task:
        sent, root = _exact(at), self._tasks[origin.root]
        # It was sent after its root, also if the event of that came later. Of a tree, the root is
        # the first that is pruned.
        if root and root.sent_at is not None and root.sent_at >= sent:
            sent = root.sent_at + 0.001
        # To be sent by the root is the usual case, and takes no bytes.
        parent = None if origin.parent in {origin.root, task} else origin.parent
        self._sizes[origin.root] = self._sizes.get(origin.root, 0) + 1
        return self._put(Task(task, name, "sent", origin.root, parent, sent))

    def _put(self, task: Task) -> Task:
        self._tasks[task.id] = self._changed[task.id] = task
        return task

    def _prefer(self, task: str, state: str) -> None:
        """Of the two tasks of a message that was passed on twice, let the better one count."""
        for message in self._passed_twice.pop(task, []):
            counts = self._tasks[message.task]
            if not (counts and counts.state in {"succeeded", state}):
                message.task, message.other_task = task, message.task
                self._swapped[message.key] = message
            self._passed_twice.setdefault(message.other_task, []).append(message)

    def _read(self) -> None:
        for ids in in_parts(list(self._tasks)):
            query, limit = PASSED_TWICE.format(ids=places(ids)), MAX_REPORTS * len(ids)
            for *key, task, other in self._db.execute(query, (*ids, limit)):
                of_other = self._passed_twice.setdefault(other, [])
                if len(of_other) < MAX_REPORTS:
                    of_other.append(_PassedTwice((key[0], key[1]), task, other))
                    self._tasks.setdefault(task)
        for ids in in_parts(list(self._tasks)):
            for size, *row in self._db.execute(GET_WITH_SIZES.format(ids=places(ids)), ids):
                known = _task(row)
                self._tasks[known.id], self._sizes[known.id] = known, size


def _exact(at: float) -> float:
    """Return a time as it is on record, in whole milliseconds."""
    return (milliseconds(at) or 0) / 1000


def _task(row: Sequence[Any]) -> Task:
    return Task._make((*row[:5], *map(seconds, row[5:9]), row[9]))
