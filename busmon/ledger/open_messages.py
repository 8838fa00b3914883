"""Messages that a closed window left open, and what became of them.

A message is open at one stage at a time. The rows of missing messages are the open gaps: no age
and no size limit deletes them.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from busmon.ledger.buses import Buses
from busmon.ledger.connection import Connection, in_parts, places
from busmon.ledger.messages import MessageTrace
from busmon.ledger.trees import TREE, TreeProgress
from busmon.ledger.values import milliseconds, seconds, shown_id, stored_id
from busmon.ledger.windows import Place
from busmon.message import Stage

Position = tuple[int | str | bytes, ...]  # of a message among those of its state


class State(StrEnum):
    """What is known of a message at a stage that it had not reached when its window closed."""

    RUNNING = "running"  # it may still reach the stage until it is due
    UNCONFIRMED = "unconfirmed"  # the stage was not watched: it may have reached it
    MISSING = "missing"  # it did not reach the stage: an open gap
    RECOVERED = "recovered"  # it was missing, and reached the stage later
    ACCEPTED = "accepted"  # a person accepted it
    EXPIRED = "expired"  # it was missing for 13 months


ENDED = (State.RECOVERED, State.ACCEPTED, State.EXPIRED)

# Each has an index in this order, which `reached` goes through part by part.
ORDER = {
    State.MISSING: "open.bus, open.stage, open.topic, open.start, open.id",
    State.UNCONFIRMED: "open.start, open.id, open.bus, open.stage",
    State.RUNNING: "open.due, open.id, open.bus, open.stage",
}
# Of a stage: whether a message has reached it.
REACHED = {
    Stage.LISTENER: "tap_reports.state = 'passed'",
    Stage.WORKER: "tasks.state IN ('succeeded', 'failed')",
    Stage.HANDLERS: f"{TREE} = {TreeProgress.SUCCEEDED}",
}
# The same: whether it is known that a message will not reach it, unless somebody repairs that.
FAILED = {
    Stage.LISTENER: "tap_reports.state IN ('dropped', 'raised')",
    Stage.WORKER: "tasks.state IN ('revoked', 'rejected')",
    Stage.HANDLERS: f"{TREE} = {TreeProgress.FAILED}",
}


def _at(conditions: Mapping[Stage, str]) -> str:
    parts = (f"(open.stage = '{stage}' AND {condition})" for stage, condition in conditions.items())
    return " OR ".join(parts)


HAS_REACHED, HAS_ENDED = _at(REACHED), f"{_at(REACHED)} OR {_at(FAILED)}"
# What is to be corrected as soon as it holds.
TO_CORRECT = {
    State.RUNNING: HAS_ENDED,
    State.MISSING: HAS_REACHED,
    State.UNCONFIRMED: HAS_ENDED,
}

ADD = """
INSERT INTO open_messages
    (id, bus, stage, start, until, received_at, due, topic, state, estimated)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id, bus, stage) DO UPDATE SET topic = excluded.topic, start = excluded.start,
    until = excluded.until, received_at = excluded.received_at, state = excluded.state,
    due = excluded.due, estimated = excluded.estimated,
    ended_at = NULL, acceptance = NULL, accepted_from = NULL
"""
KNOWN = """
SELECT name, stage, open.id, state, start, topic
FROM open_messages AS open JOIN buses ON buses.id = open.bus WHERE open.id IN ({ids})
"""
MOVE = """
UPDATE open_messages SET state = ?, due = NULL, ended_at = ?
WHERE id = ? AND bus = ? AND stage = ? AND state = ?
"""
REMOVE = "DELETE FROM open_messages WHERE id = ? AND bus = ? AND stage = ? AND state = ?"
FIND = f"""
SELECT open.start, open.until, (SELECT name FROM buses WHERE buses.id = open.bus), open.stage,
    open.state, open.due, open.estimated, open.id, open.topic,
    tap_reports.state, tap_reports.task, tasks.state,
    {TREE}, open.received_at, tap_reports.passed_at
FROM open_messages AS open
LEFT JOIN tap_reports ON tap_reports.id = open.id AND tap_reports.bus = open.bus
LEFT JOIN tasks ON tasks.id = tap_reports.task
"""  # noqa: S608 - our own text
UNCONFIRMED = f"""{FIND}
WHERE open.state = 'unconfirmed' AND open.stage = 'listener'
    AND open.bus = (SELECT id FROM buses WHERE name = :bus)
    AND open.start < :until AND open.received_at >= :since AND open.received_at < :until
    AND coalesce(tap_reports.state, '') <> 'passed'
ORDER BY open.start LIMIT :limit
"""  # noqa: S608 - our own names
OLD = f"{FIND} WHERE open.state = 'missing' AND open.start < ? LIMIT ?"


class Key(NamedTuple):
    """What identifies an open message."""

    bus: str
    stage: Stage
    id: str


class OpenMessage(NamedTuple):
    """A message that had not reached a stage when its window closed; Unix times."""

    start: float  # of its window
    until: float
    bus: str
    stage: Stage
    state: State
    trace: MessageTrace
    due: float | None = None  # running: from when on it is missing
    estimated: bool = False  # its time is known to a minute only

    @property
    def key(self) -> Key:
        """What identifies it."""
        return Key(self.bus, self.stage, shown_id(stored_id(self.trace.id)))

    @property
    def place(self) -> Place:
        """Where it is counted."""
        return Place(self.bus, self.trace.topic, self.stage)


class OpenMessages:
    """The messages that closed windows left open."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._buses = Buses(db)

    def add(self, messages: Iterable[OpenMessage]) -> list[tuple[float, Place]]:
        """Add messages that their window left open.

        If the same id was missing before, and came again after busmon had forgotten it, the new
        message replaces the old one. Return window and place of such old ones.
        """
        messages = list(messages)
        numbers, missing = self._buses.numbers(one.bus for one in messages), {}
        for bus, stage, identity, state, start, topic in self._known(messages):
            if state == State.MISSING:
                missing[Key(bus, stage, identity)] = start / 1000, Place(bus, topic, stage)
        replaced, rows = [], []
        for message in messages:
            if message.key in missing:
                replaced.append(missing.pop(message.key))
            if message.state is State.MISSING:
                missing[message.key] = message.start, message.place
            times = message.start, message.until, message.trace.received_at, message.due
            key = stored_id(message.trace.id), numbers[message.bus], message.stage
            row = *key, *map(milliseconds, times), message.trace.topic
            rows.append((*row, message.state, int(message.estimated)))
        self._db.executemany(ADD, rows)
        return replaced

    def unchanged(self, messages: Sequence[OpenMessage]) -> set[Key]:
        """Return the keys of those messages that still have their state."""
        known = {Key(*row[:3]): row[3] for row in self._known(messages)}
        return {one.key for one in messages if known.get(one.key) == one.state}

    def _known(self, messages: Sequence[OpenMessage]) -> Iterator[tuple[Any, ...]]:
        """Yield what is on record under the ids of these messages."""
        for ids in in_parts(stored_id(one.trace.id) for one in messages):
            for row in self._db.execute(KNOWN.format(ids=places(ids)), ids):
                yield (*row[:2], shown_id(row[2]), *row[3:])

    def to_correct(
        self, state: State, after: Position | None, limit: int, due: float
    ) -> tuple[list[OpenMessage], Position | None]:
        """Look at the next `limit` messages that are missing, unconfirmed or running.

        Return those that have reached their stage by now, those that are not missing and have
        failed to, and those that should have reached it by `due`. Also return the position of
        the last one that was looked at, to go on `after` it. It is None if there are no more.
        """
        order = ORDER[state]
        marks = places(order.split(","))
        within = f"open.state = '{state}'" + (f" AND ({order}) > ({marks})" if after else "")
        last: Position | None = self._db.execute(
            f"SELECT {order} FROM open_messages AS open WHERE {within}"  # noqa: S608 - our own names
            f" ORDER BY {order} LIMIT 1 OFFSET ?",
            (*(after or ()), limit - 1),
        ).fetchone()
        within += f" AND ({order}) <= ({marks})" if last else ""
        rows = self._db.execute(
            f"{FIND} WHERE {within} AND ({TO_CORRECT[state]} OR open.due <= ?)",
            (*(after or ()), *(last or ()), milliseconds(due)),
        )
        return [_message(*row) for row in rows], last

    def unconfirmed(self, bus: str, since: float, until: float, limit: int) -> list[OpenMessage]:
        """Return unconfirmed messages at the listener that busmon received in this time."""
        times = {"since": milliseconds(since), "until": milliseconds(until)}
        rows = self._db.execute(UNCONFIRMED, times | {"bus": bus, "limit": limit})
        return [_message(*row) for row in rows]

    def older(self, before: float, limit: int) -> list[OpenMessage]:
        """Return missing messages of windows that began before this Unix time."""
        return [_message(*row) for row in self._db.execute(OLD, (milliseconds(before), limit))]

    def move(self, moves: Iterable[tuple[OpenMessage, State]], now: float) -> None:
        """Write that messages have other states; what is not in its own any more stays as it is.

        `now` is when those ended that have.
        """
        moves, ended = list(moves), milliseconds(now)
        rows = zip(moves, self._keys(one for one, _ in moves), strict=True)
        self._db.executemany(
            MOVE, [(to, ended if to in ENDED else None, *key) for (_, to), key in rows]
        )

    def remove(self, messages: Sequence[OpenMessage]) -> None:
        """Remove messages that reached their stage and were never missing; as `move`."""
        self._db.executemany(REMOVE, self._keys(messages))

    def merge_topics(self, bus: str, topics: Collection[str], into: str) -> None:
        """Count the messages of these topics under another one."""
        marks = places(topics)
        self._db.execute(
            f"UPDATE open_messages SET topic = ? WHERE bus = ? AND topic IN ({marks})",  # noqa: S608 - only marks
            (into, self._buses.number(bus), *topics),
        )

    def _keys(self, messages: Iterable[OpenMessage]) -> list[tuple[str | bytes, int, Stage, State]]:
        messages = list(messages)
        numbers = self._buses.numbers(one.bus for one in messages)
        return [
            (stored_id(one.trace.id), numbers[one.bus], one.stage, one.state) for one in messages
        ]


def _message(*row: Any) -> OpenMessage:
    start, until, bus, stage, state, due, estimated, identity, topic, *known, received, passed = row
    trace = MessageTrace(shown_id(identity), topic, True, *known)
    return OpenMessage(
        start / 1000,
        until / 1000,
        bus,
        Stage(stage),
        State(state),
        trace._replace(received_at=seconds(received), passed_at=seconds(passed)),
        seconds(due),
        bool(estimated),
    )
