"""Whether the archive has what busmon received of other topics, day by day.

If it has not, what it lacks of a silent topic says nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from busmon.archive.learn_plan import HOUR_SECONDS
from busmon.archive.opinion import Comparison, holes

DAY_HOURS = 24
AGAIN_SECONDS = 3600.0  # a day that is not over, or has holes, is compared again
DAYS_KEPT = 8

# Compares the 24 hours before an hour of Unix time.
Compare = Callable[[int], Comparison]


@dataclass(frozen=True, slots=True)
class _Day:
    """What the archive said of a day."""

    asked_at: float
    until: int  # the hour of Unix time before which it was asked
    holes: str

    def is_valid(self, until: int, now: float) -> bool:
        final = not self.holes and self.until == until and until % DAY_HOURS == 0
        return final or 0 <= now - self.asked_at < AGAIN_SECONDS


class KnownHoles:
    """What the archive said of the last days; for today, the last 24 hours are compared."""

    def __init__(self) -> None:
        self._days: dict[int, _Day] = {}

    def ask(self, since: float, settled: float, now: float, compare: Compare) -> bool:
        """Compare a day of this time, if one is due; return whether that sent a request.

        Raises Unanswered; then nothing of this time is due for some time.
        """
        untils = _untils(since, settled)
        known = self._days
        due = [d for d in untils if d not in known or not known[d].is_valid(untils[d], now)]
        if not due:
            return False
        self._keep(due, untils, now, "it did not say what it has of other topics")  # if it fails
        day = due.pop()
        found = holes(compare(untils[day]))
        self._days = known  # the others are still due
        self._keep([day], untils, now, found)
        return True

    def within(self, since: float, settled: float) -> str:
        """Return of which holes in this time is known; "" if of none."""
        known = (self._days.get(day) for day in reversed(_untils(since, settled)))
        return next((day.holes for day in known if day and day.holes), "")

    def _keep(self, days: Iterable[int], untils: Mapping[int, int], now: float, why: str) -> None:
        found = self._days | {day: _Day(now, untils[day], why) for day in days}
        self._days = {day: one for day, one in found.items() if day > max(found) - DAYS_KEPT}


def _untils(since: float, settled: float) -> dict[int, int]:
    """Return the days of a time, and the hour before which the 24 hours of each end."""
    end = int(settled // HOUR_SECONDS)
    last = (end - 1) // DAY_HOURS
    first = min(last, int(since // HOUR_SECONDS) // DAY_HOURS)
    return {day: min((day + 1) * DAY_HOURS, end) for day in range(first, last + 1)}
