"""Single messages: what is on record of each, from the bus to the workers."""

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import starmap, takewhile
from typing import Any, NamedTuple

from busmon.ledger.connection import Connection, in_parts, places
from busmon.ledger.parts import SeriesParts
from busmon.ledger.subjects import Subjects
from busmon.ledger.trees import TREE
from busmon.ledger.values import milliseconds, seconds, shown_id, stored_id

FINISHED = frozenset({"succeeded", "failed"})  # final states of a task

FIND_TRACES = f"""
SELECT messages.id, series.topic, series.outcome, tap_reports.state, tap_reports.task, tasks.state,
    {TREE}, messages.received_at
FROM messages JOIN series ON series.id = messages.series
LEFT JOIN tap_reports ON tap_reports.id = messages.id AND tap_reports.bus = messages.bus
LEFT JOIN tasks ON tasks.id = tap_reports.task
WHERE messages.bus = (SELECT id FROM buses WHERE name = :bus)
    AND (series.outcome = 'handled' OR tap_reports.state = 'passed')
    AND series.reason NOT IN ('too-large', 'too-costly')
"""  # noqa: S608 - our own text
RECEIVED = f"""{FIND_TRACES}
    AND messages.received_at >= :since AND messages.received_at < :until AND filled = 0
"""
RECORDED = f"{FIND_TRACES} AND messages.seq > :seq"
FIND = """
SELECT buses.name, coalesce(series.topic, tap_reports.topic, open.topic), outcome, reason,
    coalesce(messages.received_at, open.received_at), messages.sent_at,
    tap_reports.state, tap_reports.reported_at, tap_reports.task,
    tasks.state, tasks.received_at, started_at, finished_at, retries, filled
FROM buses LEFT JOIN messages ON messages.bus = buses.id AND messages.id = :id
LEFT JOIN series ON series.id = messages.series
LEFT JOIN tap_reports ON tap_reports.bus = buses.id AND tap_reports.id = :id
LEFT JOIN tasks ON tasks.id = tap_reports.task
LEFT JOIN (
    SELECT bus, max(topic) AS topic, max(received_at) AS received_at FROM open_messages
    WHERE id = :id GROUP BY bus
) AS open ON open.bus = buses.id -- which outlives the record of the message
WHERE messages.id IS NOT NULL OR tap_reports.id IS NOT NULL OR open.bus IS NOT NULL
ORDER BY buses.name
"""


class MessageTrace(NamedTuple):
    """What is known of one message that busmon received, from the bus to the workers."""

    id: str
    topic: str
    handled: bool  # by the rules
    report: str | None = None  # the tap's: passed, dropped or raised; None: no report
    task: str | None = None  # the id of the task that it was passed on as
    state: str | None = None  # received, started, retried, succeeded, failed; None: no event
    tree: int | None = None  # a TreeProgress; None: no event
    received_at: float | None = None  # Unix time, by busmon
    passed_at: float | None = None  # Unix time; only of an open message

    @property
    def passed(self) -> bool:
        """Whether the listener passed it on."""
        return self.report == "passed"

    @property
    def finished(self) -> bool:
        """Whether a worker finished its task, successfully or not."""
        return self.state in FINISHED


class MessageRecord(NamedTuple):
    """Everything on record of one message on one bus; Unix times, None if unknown."""

    bus: str
    topic: str
    outcome: str | None  # None: it is not on record, or no longer
    reason: str | None
    received_at: float | None  # by busmon; of a filled message, when it was sent
    sent_at: float | None
    report: str | None  # the tap's: passed, dropped or raised
    reported_at: float | None
    task: str | None  # the id of the task that it was passed on as
    task_state: str | None
    task_received_at: float | None
    started_at: float | None
    finished_at: float | None
    retries: int | None
    filled: bool = False  # busmon did not receive it, and has it from the archive


class Messages:
    """Questions about single messages."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def traces(self, bus: str, start: float, end: float) -> Iterator[MessageTrace]:
        """Return the messages received in a time that are to be handled, or were passed on.

        Without those that busmon could not judge.
        """
        span = {"since": milliseconds(start), "until": milliseconds(end), "bus": bus}
        return starmap(_trace, self._db.execute(RECEIVED, span))

    def recorded(self, bus: str, after: int) -> Iterator[MessageTrace]:
        """Yield the same of the messages that were recorded after number `after`, if any."""
        return starmap(_trace, self._db.execute(RECORDED, {"bus": bus, "seq": after}))

    def last(self) -> int:
        """Return the number of the newest message, 0 without any."""
        (last,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM messages").fetchone()
        return int(last)

    def find(self, identity: str) -> list[MessageRecord]:
        """Return what is known of a message, on each bus that has it."""
        rows = self._db.execute(FIND, {"id": stored_id(identity)})
        return [_record(*row) for row in rows]

    def known(self, bus: str, identities: Collection[str]) -> set[str]:
        """Return those of these ids that a message on record has."""
        found = {
            shown_id(identity)
            for ids in in_parts(map(stored_id, identities))
            for (identity,) in self._db.execute(
                "SELECT messages.id FROM messages JOIN buses ON buses.id = messages.bus"  # noqa: S608 - question marks
                f" WHERE messages.id IN ({places(ids)}) AND buses.name = ?",
                (*ids, bus),
            )
        }
        return {one for one in identities if shown_id(stored_id(one)) in found}

    def count(self) -> int:
        """Return how many messages are on record: all that are counted, not pruned."""
        (counted,) = self._db.execute("SELECT coalesce(sum(messages), 0) FROM series").fetchone()
        (pruned,) = self._db.execute("SELECT coalesce(sum(pruned), 0) FROM buses").fetchone()
        return int(counted - pruned)

    def prune(self, before: float | None, limit: int) -> int:
        """Delete at most `limit` messages, the oldest first, up to one of `before` or later.

        None: however young they are. Return how many. After a clock was set back, an older
        message waits until it is its turn.
        """
        horizon = milliseconds(before)
        oldest = self._db.execute(
            "SELECT seq, bus, received_at FROM messages ORDER BY seq LIMIT ?", (limit,)
        ).fetchall()
        old = list(takewhile(lambda row: horizon is None or row[2] < horizon, oldest))
        if old:
            self._db.execute("DELETE FROM messages WHERE seq <= ?", (old[-1][0],))
            Subjects(self._db).prune(old[-1][0] + 1, limit)
            SeriesParts(self._db).prune(old[-1][0] + 1)
        self._db.executemany(
            "UPDATE buses SET pruned = pruned + ? WHERE id = ?",
            [(number, bus) for bus, number in Counter(bus for _, bus, _ in old).items()],
        )
        return len(old)

    def oldest(self) -> float | None:
        """Return the Unix time to which the record of single messages reaches back."""
        (first,) = self._db.execute("SELECT min(received_at) FROM messages").fetchone()
        return seconds(first)


def _trace(identity: str | bytes, topic: str, outcome: str, *known: Any) -> MessageTrace:
    *progress, received = known
    trace = MessageTrace(shown_id(identity), topic, outcome == "handled", *progress)
    return trace._replace(received_at=seconds(received))


def _record(*row: Any) -> MessageRecord:
    bus, topic, outcome, reason, received, sent, state, reported, task, *of_task = row
    work, taken, started, finished, retries, filled = of_task
    return MessageRecord(
        bus,
        topic,
        outcome,
        reason,
        seconds(received),
        seconds(sent),
        state,
        seconds(reported),
        task,
        work,
        seconds(taken),
        seconds(started),
        seconds(finished),
        retries,
        bool(filled),
    )
