"""The service levels: which messages are due to be judged, and how many were within the bound.

Messages are judged in the order in which they were recorded. One transaction adds what was
found and moves the progress, so that each is judged exactly once.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from busmon.ledger.connection import Connection
from busmon.ledger.messages import Messages
from busmon.ledger.trees import PROGRESS
from busmon.ledger.values import milliseconds, seconds

# The "+" keeps SQLite from sorting all messages of the span by their numbers.
PENDING = """
SELECT seq FROM messages WHERE seq > ? AND +received_at >= ? AND +received_at < ?
ORDER BY seq LIMIT 1
"""
HANDLED = f"""
SELECT seq, series.topic, messages.received_at, messages.sent_at, tap_reports.state, task,
    passed_at, tasks.state, finished_at, {PROGRESS.format(task="task")},
    (SELECT max(finished_at) FROM tasks AS of_tree WHERE of_tree.root = tap_reports.task)
FROM messages JOIN series ON series.id = messages.series
LEFT JOIN tap_reports ON tap_reports.id = messages.id AND tap_reports.bus = messages.bus
LEFT JOIN tasks ON tasks.id = tap_reports.task
WHERE seq > ? AND seq < ? AND messages.bus = (SELECT id FROM buses WHERE name = ?)
    AND outcome = 'handled' AND filled = 0
ORDER BY seq LIMIT ?
"""  # noqa: S608 - our own text
ADD = """
INSERT INTO slo_totals (bus, slo, within, messages) VALUES (?, ?, ?, ?)
ON CONFLICT (bus, slo, within) DO UPDATE SET messages = slo_totals.messages + excluded.messages
"""


class LevelKey(NamedTuple):
    """What identifies a service level."""

    bus: str
    name: str


class HandledMessage(NamedTuple):
    """What is known of a message that should be handled; Unix times."""

    seq: int  # its number in the record
    topic: str
    received_at: float
    sent_at: float | None
    report: str | None  # the tap's: passed, dropped or raised; None: no report
    task: str | None  # the id of the task that it was passed on as
    passed_at: float | None
    state: str | None  # of its task; None: no event came
    finished_at: float | None  # its task
    tree: int | None  # a TreeProgress; None: no event
    tree_ended_at: float | None  # the last task that has


class ServiceLevels:
    """The progress and the totals of each service level."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def begin(self, levels: Collection[LevelKey]) -> None:
        """Let new service levels begin with the next message, and forget all others."""
        last = self.last()
        for key in self.progress().keys() - set(levels):
            for table in ("slo_totals", "slo_progress"):
                self._db.execute(f"DELETE FROM {table} WHERE bus = ? AND slo = ?", key)  # noqa: S608 - our own names
        self._db.executemany(
            "INSERT INTO slo_progress (bus, slo, seq) VALUES (?, ?, ?)"
            " ON CONFLICT (bus, slo) DO NOTHING",
            [(*key, last) for key in levels],
        )

    def progress(self) -> dict[LevelKey, int]:
        """Return the number of the last message that was judged, by service level."""
        rows = self._db.execute("SELECT bus, slo, seq FROM slo_progress")
        return {LevelKey(bus, name): seq for bus, name, seq in rows}

    def first_pending(self, after: int, since: float, until: float) -> int:
        """Return the number of the first message after this one that was received in a span.

        If there is none, it is the number of the next message that will be recorded.
        """
        span = after, milliseconds(since), milliseconds(until)
        if found := self._db.execute(PENDING, span).fetchone():
            return int(found[0])
        return self.last() + 1

    def last(self) -> int:
        """Return the number of the newest message, 0 without any."""
        return Messages(self._db).last()

    def handled(self, bus: str, after: int, before: int, limit: int) -> list[HandledMessage]:
        """Return messages that should be handled, with numbers between these two, in order."""
        rows = self._db.execute(HANDLED, (after, before, bus, limit))
        return [_message(*row) for row in rows]

    def advance(self, key: LevelKey, before: int, to: int, found: Mapping[str, int]) -> None:
        """Add what was found of the messages up to number `to`, if it goes on from `before`."""
        moved = self._db.execute(
            "UPDATE slo_progress SET seq = ? WHERE bus = ? AND slo = ? AND seq = ?",
            (to, *key, before),
        )
        if moved.rowcount:
            rows = [(*key, within, messages) for within, messages in found.items()]
            self._db.executemany(ADD, rows)

    def totals(self) -> dict[tuple[LevelKey, str], int]:
        """Return the number of messages by service level, and by true, false or unknown."""
        rows = self._db.execute("SELECT bus, slo, within, messages FROM slo_totals")
        return {(LevelKey(bus, name), within): messages for bus, name, within, messages in rows}


def _message(*row: Any) -> HandledMessage:
    seq, topic, received, sent, report, task, passed, state, finished, tree, ended = row
    return HandledMessage(
        seq,
        topic,
        received / 1000,
        seconds(sent),
        report,
        task,
        seconds(passed),
        state,
        seconds(finished),
        tree,
        seconds(ended),
    )
