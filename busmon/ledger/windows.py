"""The audit's windows: what of each topic reached each stage, and all of it summed up."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from busmon.ledger.buses import Buses
from busmon.ledger.connection import Connection
from busmon.ledger.values import milliseconds, seconds
from busmon.message import Stage

ADD = """
INSERT INTO windows
    (start, until, bus, topic, stage, messages, missing, unexpected, recovered)
VALUES (:start, :until, :bus, :topic, :stage, :messages, :missing, :unexpected, 0)
ON CONFLICT (start, bus, topic, stage) DO UPDATE SET messages = excluded.messages,
    missing = excluded.missing, unexpected = excluded.unexpected
"""
# A window that was pruned already gets no row. The totals get what it adds all the same.
ADD_FILLED = """
INSERT INTO windows
    (start, until, bus, topic, stage, messages, missing, unexpected, recovered)
VALUES (:start, :until, :bus, :topic, :stage, :messages, :missing, :unexpected, 0)
ON CONFLICT (start, bus, topic, stage) DO UPDATE SET
    messages = windows.messages + excluded.messages,
    missing = windows.missing + excluded.missing,
    unexpected = windows.unexpected + excluded.unexpected
"""
CORRECT = """
INSERT INTO windows
    (start, until, bus, topic, stage, messages, missing, unexpected, recovered)
SELECT start, until, bus, :topic, :stage, :messages, :missing, 0, :recovered
FROM windows WHERE start = :start AND bus = :bus AND stage = 'bus' LIMIT 1
ON CONFLICT (start, bus, topic, stage) DO UPDATE SET
    messages = windows.messages + excluded.messages,
    missing = windows.missing + excluded.missing,
    recovered = windows.recovered + excluded.recovered
"""
ADD_TO_TOTALS = """
INSERT INTO audit_totals
    (bus, topic, stage, messages, missing, unexpected, recovered, no_data, expired)
VALUES (:bus, :topic, :stage, :messages, :missing, :unexpected, :recovered, :no_data, :expired)
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
FROM windows JOIN buses ON buses.id = windows.bus WHERE until > ? AND name = coalesce(?, name)
"""
# A closed window without a row had no message: to close it again adds nothing.
GO_BACK = """
UPDATE audit_progress
SET closed_until = coalesce((SELECT max(until) FROM windows WHERE until <= :now), :now)
"""
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
        for start, until, place, totals in rows:
            window = {"start": milliseconds(start), "until": milliseconds(until)}
            counts = (totals or Totals(no_data=1))._asdict()
            row = self._keys(place) | counts
            self._db.execute(ADD, row | window | ({} if totals else {"messages": None}))
            self._db.execute(ADD_TO_TOTALS, row)

    def add_filled(self, rows: Iterable[WindowRow]) -> None:
        """Add messages that the archive had to windows that were closed before, and the totals."""
        for start, until, place, totals in rows:
            window = {"start": milliseconds(start), "until": milliseconds(until)}
            row = self._keys(place) | (totals or Totals())._asdict()
            self._db.execute(ADD_FILLED, row | window)
            self._db.execute(ADD_TO_TOTALS, row)

    def correct(self, start: float, place: Place, added: Totals) -> None:
        """Add to a window that was closed before, and to the totals."""
        row = self._keys(place) | added._asdict()
        self._db.execute(CORRECT, row | {"start": milliseconds(start)})
        self._db.execute(ADD_TO_TOTALS, row)

    def merge_totals(self, bus: str, topic: str, into: str) -> None:
        """Count the totals of a topic under another one."""
        for place, totals in self.totals().items():
            if place[:2] == (bus, topic):
                row = self._keys(place._replace(topic=into)) | totals._asdict()
                self._db.execute(ADD_TO_TOTALS, row)
        key = self._buses.number(bus), topic
        self._db.execute("DELETE FROM audit_totals WHERE bus = ? AND topic = ?", key)

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
        for start, until, name, topic, stage, messages, *counts in self._db.execute(
            query, (milliseconds(since), bus)
        ):
            place = Place(name, topic, Stage(stage))
            totals = None if messages is None else Totals(messages, *counts)
            yield WindowRow(start / 1000, until / 1000, place, totals)

    def _keys(self, place: Place) -> dict[str, str | int | None]:
        return {
            "bus": self._buses.number(place.bus),
            "topic": place.topic,
            "stage": place.stage,
        }
