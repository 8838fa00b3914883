"""The audit's windows: what of each topic reached each stage, and all of it summed up."""

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from busmon.ledger.buses import Buses
from busmon.ledger.connection import Connection
from busmon.ledger.values import milliseconds, seconds
from busmon.message import Stage

ADD = """
INSERT INTO windows
    (start, until, bus, topic, stage, messages, missing, unexpected, recovered)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (start, bus, topic, stage) DO UPDATE SET messages = excluded.messages,
    missing = excluded.missing, unexpected = excluded.unexpected
"""
# A window that was pruned already gets no row. The totals get what it adds all the same.
ADD_FILLED = """
INSERT INTO windows
    (start, until, bus, topic, stage, messages, missing, unexpected, recovered)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (start, bus, topic, stage) DO UPDATE SET
    messages = windows.messages + excluded.messages,
    missing = windows.missing + excluded.missing,
    unexpected = windows.unexpected + excluded.unexpected
"""
CORRECT = """
INSERT INTO windows
    (start, until, bus, topic, stage, messages, missing, unexpected, recovered)
SELECT start, until, bus, ?, ?, ?, ?, 0, ?
FROM windows WHERE start = ? AND bus = ? AND stage = 'bus' LIMIT 1
ON CONFLICT (start, bus, topic, stage) DO UPDATE SET
    messages = windows.messages + excluded.messages,
    missing = windows.missing + excluded.missing,
    recovered = windows.recovered + excluded.recovered
"""
ADD_TO_TOTALS = """
INSERT INTO audit_totals
    (bus, topic, stage, messages, missing, unexpected, recovered, no_data, expired)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bus, topic, stage) DO UPDATE SET
    messages = audit_totals.messages + excluded.messages,
    missing = audit_totals.missing + excluded.missing,
    unexpected = audit_totals.unexpected + excluded.unexpected,
    recovered = audit_totals.recovered + excluded.recovered,
    no_data = audit_totals.no_data + excluded.no_data,
    expired = audit_totals.expired + excluded.expired
"""
TOTALS = """
SELECT name, topic, stage, messages, missing, unexpected, recovered, no_data, expired
FROM audit_totals JOIN buses ON buses.id = audit_totals.bus
"""
ROWS = """
SELECT start, until, name, topic, stage, messages, missing, unexpected, recovered
FROM windows JOIN buses ON buses.id = windows.bus
WHERE start >= ? AND until > ? AND name = coalesce(?, name)
"""
# A closed window without a row had no message: to close it again adds nothing.
GO_BACK = """
UPDATE audit_progress
SET closed_until = coalesce((SELECT max(until) FROM windows WHERE until <= :now), :now)
"""
# Of a window: one that began earlier is not read. Windows of different lengths can overlap.
LONGEST_SECONDS = 86400.0
WITHOUT_DATA = " AND messages IS NULL"
IN_ORDER = " ORDER BY name, stage, start, topic"


class Place(NamedTuple):
    """Where messages of a topic are counted."""

    bus: str
    topic: str  # empty if there is no data: for the whole bus
    stage: Stage


class Totals(NamedTuple):
    """What windows add up to, at one place."""

    messages: int = 0
    missing: int = 0
    unexpected: int = 0
    recovered: int = 0
    no_data: int = 0  # windows; under an empty topic
    expired: int = 0  # missing for 13 months


class WindowRow(NamedTuple):
    """What reached one place in one window; Unix times."""

    start: float
    until: float
    place: Place
    totals: Totals | None  # None: no data, not everything was observed


class Windows:
    """The closed windows, up to when they are closed, and their totals."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._buses = Buses(db)

    def closed_until(self) -> float | None:
        """Return the Unix time at which the last closed window ended, None before the first."""
        found = self._db.execute("SELECT max(closed_until) FROM audit_progress").fetchone()
        return seconds(found[0])

    def begin(self, now: float) -> None:
        """Let the first window begin `now`, unless there was one before."""
        self._db.execute(
            "INSERT INTO audit_progress (id, closed_until) VALUES (1, ?)"
            " ON CONFLICT (id) DO NOTHING",
            (milliseconds(now),),
        )

    def advance(self, before: float, until: float) -> bool:
        """Write that windows are closed up to `until`; False if that was not `before`."""
        span = milliseconds(until), milliseconds(before)
        move = "UPDATE audit_progress SET closed_until = ? WHERE closed_until = ?"
        return self._db.execute(move, span).rowcount > 0

    def go_back(self, now: float) -> None:
        """Let the next window begin before `now`, and forget those of the time behind it.

        What these left open is from now on of a window that ended now.
        """
        at = {"now": milliseconds(now)}
        self._db.execute(
            "UPDATE open_messages SET start = :now, until = :now WHERE start > :now", at
        )
        self._db.execute("DELETE FROM windows WHERE start > :now", at)
        self._db.execute(GO_BACK, at)

    def add(self, rows: Iterable[WindowRow]) -> None:
        """Add the results of a window that is just being closed to the windows and the totals.

        If a stage has no data, its row replaces that of an empty topic, which comes before it.
        """
        self._add(ADD, rows)

    def add_filled(self, rows: Iterable[WindowRow]) -> None:
        """Add messages that the archive had to windows that were closed before, and the totals."""
        self._add(ADD_FILLED, rows)

    def correct(self, corrections: Iterable[tuple[float, Place, Totals]]) -> None:
        """Add to windows that were closed before, by their start and place, and to the totals."""
        rows = list(corrections)
        numbers = self._buses.numbers(place.bus for _, place, _ in rows)
        self._db.executemany(
            CORRECT,
            [
                (*place[1:], one.messages, one.missing, one.recovered, milliseconds(start), bus)
                for start, place, one in rows
                for bus in (numbers[place.bus],)
            ],
        )
        self._add_to_totals((place, totals) for _, place, totals in rows)

    def _add(self, statement: str, rows: Iterable[WindowRow]) -> None:
        rows = list(rows)
        numbers = self._buses.numbers(row.place.bus for row in rows)
        self._db.executemany(
            statement,
            [
                (
                    *(milliseconds(start), milliseconds(until)),
                    *(numbers[place.bus], place.topic, place.stage),
                    *(totals[:4] if totals else (None, 0, 0, 0)),
                )
                for start, until, place, totals in rows
            ],
        )
        self._add_to_totals((row.place, row.totals or Totals(no_data=1)) for row in rows)

    def _add_to_totals(self, added: Iterable[tuple[Place, Totals]]) -> None:
        rows = list(added)
        numbers = self._buses.numbers(place.bus for place, _ in rows)
        self._db.executemany(
            ADD_TO_TOTALS,
            [(numbers[place.bus], *place[1:], *totals) for place, totals in rows],
        )

    def merge_totals(self, bus: str, topics: Collection[str], into: str) -> None:
        """Count the totals of these topics under another one."""
        self._add_to_totals(
            (place._replace(topic=into), totals)
            for place, totals in self.totals().items()
            if place.bus == bus and place.topic in topics
        )
        number = self._buses.number(bus)
        delete = "DELETE FROM audit_totals WHERE bus = ? AND topic = ?"
        self._db.executemany(delete, [(number, topic) for topic in topics])

    def totals(self) -> dict[Place, Totals]:
        """Return what all windows ever closed add up to, including the pruned ones."""
        return {
            Place(bus, topic, Stage(stage)): Totals(*totals)
            for bus, topic, stage, *totals in self._db.execute(TOTALS)
        }

    def rows(
        self, since: float, bus: str | None = None, *, without_data: bool = False
    ) -> Iterator[WindowRow]:
        """Yield the windows that ended after `since`, ordered by bus, stage and start.

        `without_data`: only those without data.
        """
        query = ROWS + (WITHOUT_DATA if without_data else "") + IN_ORDER
        values = milliseconds(since - LONGEST_SECONDS), milliseconds(since), bus
        for start, until, name, topic, stage, messages, *counts in self._db.execute(query, values):
            place = Place(name, topic, Stage(stage))
            totals = None if messages is None else Totals(messages, *counts)
            yield WindowRow(start / 1000, until / 1000, place, totals)
