"""What time it can be: the clock of the host can be wrong, and age decides what is deleted.

The floor is a time that has surely been reached. It advances no faster than `CATCH_UP` times the
real time, up to the clock of the host. So a clock that is years ahead for an hour makes nothing
old. And a clock that is behind the floor is wrong, so what lies beyond it is not.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from busmon.clock import steady
from busmon.ledger.connection import Connection
from busmon.ledger.values import milliseconds, seconds

CATCH_UP = 2.0  # after busmon was not running: then it does not know how much real time passed
TOLERANCE_SECONDS = 3600.0  # by which a clock may be set back and still be right
AHEAD_SECONDS = 10.0  # what is written meanwhile is no more ahead than that
MAX_AHEAD_SECONDS = 13 * 7 * 86400.0  # of the floor at the start, as busmon was not running
HOLD_SECONDS = 3600.0  # until a clock that was set far ahead is taken to be right

PASSED = """
SELECT EXISTS (SELECT 1 FROM series WHERE last_received > :end)
    OR EXISTS (SELECT 1 FROM messages WHERE received_at > :end)
    OR EXISTS (SELECT 1 FROM hourly_sums WHERE hour > :end / 3600000)
    OR EXISTS (SELECT 1 FROM coverage WHERE until > :end)
"""
# A row that lies beyond now: its time becomes now. Few at a time, so that counting can go on.
CUT = (
    "UPDATE messages SET received_at = :now WHERE seq IN"
    " (SELECT seq FROM messages WHERE received_at > :end LIMIT :limit)",
    "UPDATE tap_reports SET reported_at = :now WHERE (id, bus) IN"
    " (SELECT id, bus FROM tap_reports WHERE reported_at > :end LIMIT :limit)",
)
# Counts of hours and days that have not come yet say nothing about what is usual.
CLEAN = (
    "UPDATE series SET last_received = :now WHERE last_received > :end",
    "DELETE FROM hourly_sums WHERE hour > :end / 3600000",
    "DELETE FROM pauses WHERE day > :end / 86400000",
    "DELETE FROM deficits WHERE hour > :end / 3600000",
    "DELETE FROM coverage WHERE since > :end",
    "UPDATE coverage SET until = :now WHERE until > :end",
    "UPDATE tap_processes SET reported_at = :now WHERE reported_at > :end",
)


@dataclass(frozen=True, slots=True)
class Floor:
    """A time that has surely been reached, and when that was found, by a steady clock.

    That of a new ledger is what the clock says first. For an hour, a clock that is set back
    corrects it.
    """

    at: float
    steady: float
    first: float | None = None  # by the steady clock: when the first one of a ledger was found

    def after(self, now: float, steady: float) -> "Floor":
        """Return the floor when the host's clock says `now`."""
        if self.first is not None and steady >= self.first + HOLD_SECONDS:
            return Floor(self.at, self.steady).after(now, steady)
        if self.first is not None and now < self.at:
            return Floor(now, steady, self.first)
        most = self.at + CATCH_UP * max(0.0, steady - self.steady)
        return replace(self, at=max(self.at, min(now, most)), steady=steady)


def may_be(now: float, floor: float) -> bool:
    """Return whether a clock can be right that says `now`."""
    return now >= floor - TOLERANCE_SECONDS


class HostClock:
    """The clock of the host, read only while it may be right."""

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = steady
    ) -> None:
        self.wall, self._steady = wall, steady
        self._known: float | None = None  # when the machine started, by a clock that may be right
        self._ahead_since: float | None = None  # by the steady clock

    def read(self, floor: float) -> float | None:
        """Return the Unix time; None if it is behind the floor, or suddenly far ahead."""
        now, since_start = self.wall(), self._steady()
        if not may_be(now, floor):
            return None
        if self._known is None:
            self._known = (min(now, floor + MAX_AHEAD_SECONDS) if floor else now) - since_start
        if now > self._known + since_start + TOLERANCE_SECONDS:
            if self._ahead_since is None:
                self._ahead_since = since_start
            if since_start < self._ahead_since + HOLD_SECONDS:
                return None
        self._known, self._ahead_since = now - since_start, None
        return now


class Clock:
    """The floor on record, and what is beyond now."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def floor(self) -> float | None:
        """Return the floor; None before it is known."""
        found = self._db.execute("SELECT floor FROM clock").fetchone()
        return seconds(found[0]) if found else None

    def set_floor(self, floor: float) -> None:
        """Write the floor."""
        self._db.execute(
            "INSERT INTO clock (id, floor) VALUES (1, ?)"
            " ON CONFLICT (id) DO UPDATE SET floor = excluded.floor",
            (milliseconds(floor),),
        )

    def is_passed(self, now: float) -> bool:
        """Return whether anything on record lies beyond now."""
        end = (milliseconds(now) or 0) + int(AHEAD_SECONDS * 1000)
        return bool(self._db.execute(PASSED, {"end": end}).fetchone()[0])

    def cut(self, now: float, limit: int) -> bool:
        """Cut what lies beyond now, up to so many rows of a kind; return if there is more."""
        at = milliseconds(now) or 0
        end = at + int(AHEAD_SECONDS * 1000)
        times = {"now": at, "end": end, "limit": limit}
        changed = [self._db.execute(statement, times).rowcount for statement in CUT]
        for statement in CLEAN:
            self._db.execute(statement, {"now": at, "end": end})
        return limit in changed
