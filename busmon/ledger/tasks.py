"""What the workers did with each task, by Celery's events.

The listener publishes the root of a tree of tasks: `process_message`, which starts a handler for
each thing that is to be done. Celery gives each task of the tree the id of the root.
"""

from typing import Any, NamedTuple

from busmon.ledger.connection import Connection
from busmon.ledger.messages import FINISHED
from busmon.ledger.values import milliseconds, seconds

MAX_TREE_TASKS = 1000  # of one root; the others are not stored

# When a task was sent: after its root, also if the event of that came later. Of a tree, the root
# is the first that is pruned.
SENT_AT = """coalesce((
    SELECT CASE WHEN root.sent_at >= :at THEN root.sent_at + 1 ELSE :at END
    FROM tasks AS root WHERE root.id = :root AND root.id <> :id
), :at)"""
# The event of what was sent can come after that of its reception.
SENT = f"""
INSERT INTO tasks (id, name, state, root, parent, sent_at, retries)
VALUES (:id, :name, 'sent', :root, :parent, {SENT_AT}, 0) ON CONFLICT (id) DO NOTHING
"""  # noqa: S608 - our own text
# What succeeded once is done, even if the broker delivers it again.
RECEIVED = f"""
INSERT INTO tasks (id, name, state, root, parent, sent_at, received_at, retries)
VALUES (:id, :name, 'received', :root, :parent, {SENT_AT}, :at, 0)
ON CONFLICT (id) DO UPDATE SET state = 'received', finished_at = NULL,
    received_at = coalesce(tasks.received_at, excluded.received_at)
WHERE tasks.state <> 'succeeded'
"""  # noqa: S608 - our own text
CHANGED = """
UPDATE tasks SET state = :state,
    retries = CASE WHEN :state = 'retried' THEN retries + 1 ELSE retries END,
    started_at = CASE WHEN :state = 'started' THEN :at ELSE started_at END,
    finished_at = CASE WHEN :state IN ('succeeded', 'failed', 'revoked', 'rejected') THEN :at END
WHERE id = :id AND state <> 'succeeded'
"""
GET = """
SELECT id, name, state, root, parent, sent_at, received_at, started_at, finished_at, retries
FROM tasks
"""
# Of the two tasks of a message that was passed on twice, the one that counts is the better one.
# A task is made of one message, whatever a tap claims.
BETTER = """
UPDATE tap_reports SET task = other_task, other_task = task
WHERE (id, bus) IN (SELECT id, bus FROM tap_reports WHERE other_task = :id LIMIT 10)
    AND NOT EXISTS (
    SELECT 1 FROM tasks WHERE tasks.id = tap_reports.task
        AND tasks.state IN ('succeeded', :state)
)
"""


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
    received_at: float | None
    started_at: float | None
    finished_at: float | None
    retries: int


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
        return _task(*found) if found else None

    def name(self, task: str) -> str | None:
        """Return the name of a task, None if it is not on record."""
        found = self._db.execute("SELECT name FROM tasks WHERE id = ?", (task,)).fetchone()
        return found and str(found[0])

    def is_root(self, task: str) -> bool:
        """Return whether a task is on record as the root of a tree."""
        query = "SELECT 1 FROM tasks WHERE id = ? AND root = id"
        return self._db.execute(query, (task,)).fetchone() is not None

    def tree(self, root: str) -> list[Task]:
        """Return the tasks of a tree in the order in which they were sent; the root, too."""
        rows = self._db.execute(
            f"{GET} WHERE root = ? ORDER BY sent_at, id LIMIT ?", (root, MAX_TREE_TASKS)
        )
        return [_task(*row) for row in rows]

    def has_room(self, root: str) -> bool:
        """Return whether a tree has fewer tasks than are stored of one."""
        query = "SELECT count(*) FROM (SELECT 1 FROM tasks WHERE root = ? LIMIT ?) AS stored"
        (stored,) = self._db.execute(query, (root, MAX_TREE_TASKS)).fetchone()
        return bool(stored < MAX_TREE_TASKS)

    def send(self, task: str, name: str, at: float, origin: Origin) -> None:
        """Write that a task was sent, unless it is on record already."""
        self._db.execute(SENT, _row(task, name, at, origin))

    def receive(self, task: str, name: str, at: float, origin: Origin | None = None) -> None:
        """Write that a worker received a task. Without an origin it is the root of a tree."""
        self._db.execute(RECEIVED, _row(task, name, at, origin or Origin(task)))

    def change(self, task: str, state: str, at: float) -> None:
        """Write the new state of a task that is on record."""
        row = {"state": state, "id": task, "at": milliseconds(at)}
        if self._db.execute(CHANGED, row).rowcount and state in FINISHED:
            self._db.execute(BETTER, row)


def _row(task: str, name: str, at: float, origin: Origin) -> dict[str, str | int | None]:
    # To be sent by the root is the usual case, and takes no bytes.
    parent = None if origin.parent in {origin.root, task} else origin.parent
    return {
        "id": task,
        "name": name,
        "at": milliseconds(at),
        "root": origin.root,
        "parent": parent,
    }


def _task(*row: Any) -> Task:
    identity, name, state, root, parent, sent, received, started, finished, retries = row
    return Task(
        identity,
        name,
        state,
        root,
        parent,
        seconds(sent),
        seconds(received),
        seconds(started),
        seconds(finished),
        retries,
    )
