"""The open gaps, and the other messages that closed windows left open, as people ask for them."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from busmon.ledger.connection import Connection
from busmon.ledger.open_messages import State
from busmon.ledger.values import milliseconds, seconds, shown_id, stored_id
from busmon.ledger.windows import Place
from busmon.message import Stage

GAPS = """
SELECT (SELECT name FROM buses WHERE buses.id = bus), topic, stage,
    count(*), count(DISTINCT start), min(start)
FROM open_messages WHERE state = 'missing' GROUP BY bus, stage, topic
"""
BEGUN_AFTER = """
SELECT (SELECT name FROM buses WHERE buses.id = bus), stage, {parts} count(*)
FROM open_messages WHERE state = 'missing' GROUP BY bus, stage
"""
WINDOWS = """
SELECT (SELECT name FROM buses WHERE buses.id = bus), count(DISTINCT start)
FROM open_messages WHERE state = 'missing' GROUP BY bus
"""
UNCONFIRMED = """
SELECT (SELECT name FROM buses WHERE buses.id = bus), stage, count(*)
FROM open_messages WHERE state = 'unconfirmed' GROUP BY bus, stage
"""
LISTED = """
SELECT start, until, name, stage, topic, state, estimated, open.id
FROM open_messages AS open JOIN buses ON buses.id = open.bus
WHERE ({states}) AND until > ? AND name = coalesce(?, name)
    AND topic = coalesce(?, topic)
ORDER BY start, name, stage, topic, state, open.id
"""
HISTORY = """
SELECT stage, start, state, due, ended_at, estimated
FROM open_messages AS open JOIN buses ON buses.id = open.bus
WHERE open.id = ? AND name = ? ORDER BY start, stage
"""


SELECTED = """(CAST(:bus AS TEXT) IS NULL OR name = :bus)
    AND (CAST(:topic AS TEXT) IS NULL OR topic = :topic)
    AND (CAST(:stage AS TEXT) IS NULL OR stage = :stage)"""
# By the index of what is missing alone, in its order.
OPEN_WINDOWS = f"""
SELECT start, max(name), stage, topic, count(*)
FROM open_messages AS open JOIN buses ON buses.id = open.bus
WHERE state = 'missing' AND {SELECTED} AND start <= :until
GROUP BY open.bus, stage, topic, start ORDER BY start DESC, 2, stage, topic LIMIT :limit
"""  # noqa: S608 - our own text
OF_WINDOW = """
SELECT until, estimated, id FROM open_messages
WHERE state = 'missing' AND bus = (SELECT buses.id FROM buses WHERE name = ?) AND stage = ?
    AND topic = ? AND start = ?
ORDER BY id LIMIT ?
"""
# The condition of the index, and which of these: SQLite does not see that one implies the other.
ENDED_LAST = f"""
SELECT start, until, name, stage, topic, state, estimated, open.id
FROM open_messages AS open JOIN buses ON buses.id = open.bus
WHERE state IN ('recovered', 'accepted', 'expired') AND state = :state AND {SELECTED}
ORDER BY ended_at DESC LIMIT :limit
"""  # noqa: S608 - our own text
UNCONFIRMED_LAST = f"""
SELECT start, until, name, stage, topic, state, estimated, open.id
FROM open_messages AS open JOIN buses ON buses.id = open.bus
WHERE state = 'unconfirmed' AND state = :state AND {SELECTED}
ORDER BY start DESC LIMIT :limit
"""  # noqa: S608 - our own text


class Selected(NamedTuple):
    """Which places people ask for; None: all."""

    bus: str | None = None
    topic: str | None = None
    stage: Stage | None = None


ALL = Selected()


class OpenWindow(NamedTuple):
    """The messages of one topic and window that are missing at one stage."""

    start: float  # Unix time
    bus: str
    stage: Stage
    topic: str
    messages: int


class OpenGap(NamedTuple):
    """The messages that are missing at one place."""

    messages: int
    windows: int
    oldest: float  # Unix time at which the oldest of these windows began


class ListedMessage(NamedTuple):
    """A message as people ask for it; Unix times."""

    start: float  # of its window
    until: float
    bus: str
    stage: Stage
    topic: str
    state: State
    estimated: bool
    id: str


class OpenAt(NamedTuple):
    """Where one message was open, and what became of it; Unix times."""

    stage: Stage
    start: float  # of its window
    state: State
    due: float | None
    ended_at: float | None
    estimated: bool


class Gaps:
    """What `OpenMessages` wrote, added up and listed."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def open(self) -> dict[Place, OpenGap]:
        """Return the open gaps by place."""
        return {
            Place(bus, topic, Stage(stage)): OpenGap(messages, windows, oldest / 1000)
            for bus, topic, stage, messages, windows, oldest in self._db.execute(GAPS)
        }

    def begun_after(self, times: Sequence[float]) -> dict[tuple[str, Stage], tuple[int, ...]]:
        """Return the messages of open gaps by bus and stage.

        First those of windows that began after each of these Unix times, then all.
        """
        parts = "".join("count(CASE WHEN start > ? THEN 1 END), " for _ in times)
        rows = self._db.execute(BEGUN_AFTER.format(parts=parts), list(map(milliseconds, times)))
        return {(bus, Stage(stage)): tuple(counts) for bus, stage, *counts in rows}

    def windows(self) -> dict[str, int]:
        """Return how many windows have an open gap, by bus."""
        return dict(self._db.execute(WINDOWS).fetchall())

    def unconfirmed(self) -> dict[tuple[str, Stage], int]:
        """Return how many messages are unconfirmed, by bus and stage."""
        return {(bus, Stage(stage)): n for bus, stage, n in self._db.execute(UNCONFIRMED)}

    def listed(
        self,
        states: Sequence[State] = (State.MISSING,),
        since: float = 0,
        bus: str | None = None,
        topic: str | None = None,
    ) -> Iterator[ListedMessage]:
        """Yield the messages of windows that ended after `since`, window by window."""
        # Not as a list, with which SQLite does not use the indexes of the states.
        query = LISTED.format(states=" OR ".join(f"state = '{state}'" for state in states))
        yield from map(_listed, self._db.execute(query, (milliseconds(since), bus, topic)))

    def open_windows(self, until: float, limit: int, selected: Selected = ALL) -> list[OpenWindow]:
        """Return the newest open gaps of windows that began at `until` or before."""
        values = selected._asdict() | {"until": milliseconds(until), "limit": limit}
        return [
            OpenWindow(start / 1000, name, Stage(at), of, messages)
            for start, name, at, of, messages in self._db.execute(OPEN_WINDOWS, values)
        ]

    def of_window(self, window: OpenWindow, limit: int) -> list[ListedMessage]:
        """Return some messages of an open gap."""
        start, bus, stage, topic, _ = window
        rows = self._db.execute(OF_WINDOW, (bus, stage, topic, milliseconds(start), limit))
        place = bus, stage, topic, State.MISSING
        return [
            ListedMessage(start, until / 1000, *place, bool(estimated), shown_id(identity))
            for until, estimated, identity in rows
        ]

    def latest(self, state: State, limit: int, selected: Selected = ALL) -> list[ListedMessage]:
        """Return the messages that ended last in a state; of unconfirmed ones the newest."""
        query = UNCONFIRMED_LAST if state is State.UNCONFIRMED else ENDED_LAST
        values = selected._asdict() | {"state": state, "limit": limit}
        return list(map(_listed, self._db.execute(query, values)))

    def history(self, bus: str, identity: str) -> list[OpenAt]:
        """Return the stages at which a message was open, and what became of it there."""
        return [
            OpenAt(
                Stage(stage),
                start / 1000,
                State(state),
                seconds(due),
                seconds(ended),
                bool(estimated),
            )
            for stage, start, state, due, ended, estimated in self._db.execute(
                HISTORY, (stored_id(identity), bus)
            )
        ]


def _listed(row: Sequence[Any]) -> ListedMessage:
    start, until, name, stage, topic, state, estimated, identity = row
    place = name, Stage(stage), topic, State(state)
    return ListedMessage(start / 1000, until / 1000, *place, bool(estimated), shown_id(identity))
