"""Whether the volume of a topic is too low: a sum of what lacks, hour by hour. Pure functions.

Each hour adds `SHARE` of the messages that are usual, at the pace of the bus, and takes off those
that came. So it grows only while less than that share comes. The topic's own pace has no part in
it: it would explain the deficit away.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from math import inf

from busmon.silence.limit import usual_limit
from busmon.silence.rates import MIN_DAYS, WEEK_HOURS, Hour, Rates

SHARE = 0.4
FACTOR = 1.2  # over what happens by chance
MIN_HOURS = 12.0  # of the share, at the mean rate
MIN_MESSAGES = 1.0  # a smaller deficit means nothing
CAP = 1.25  # times the limit, so that it ends soon after the cause


@dataclass(frozen=True, slots=True)
class Deficit:
    """What lacks of a topic after an hour, and the highest value of each day until then."""

    hour: int
    messages: float = 0.0
    highest: Mapping[int, float | None] | None = None  # by day; None: an alarm of the day before

    def after(self, hours: Iterable[Hour], rates: Rates, pace: float, limit: float) -> "Deficit":
        """Return it after some more hours; `pace` is that of the bus."""
        now, lacking, highest = self.hour, self.messages, dict(self.highest or {})
        for hour, messages, watched in hours:
            if hour <= now:
                continue
            expected = rates.hourly[hour % WEEK_HOURS] * watched * pace
            before, day = lacking, hour // 24
            lacking = min(CAP * limit, max(0.0, lacking + SHARE * expected - messages))
            if day not in highest:
                highest[day] = None if before > limit else 0.0
            known = highest[day]
            if known is not None:
                highest[day] = max(known, min(lacking, limit))
            now = hour
        return Deficit(now, lacking, highest)


def replay(history: Iterable[Hour], rates: Rates) -> Deficit:
    """Return what would have lacked in a history, if busmon had watched it from the beginning.

    So an outage in it counts as no more than the limit that was known by then. What was before
    the first limit counts only while there are no other days to learn from.
    """
    found, limit, unlimited = Deficit(-1), inf, frozenset[int]()
    for _, hours in groupby(history, key=lambda one: one.hour // WEEK_HOURS):
        found = found.after(hours, rates, 1.0, limit)
        highest = found.highest or {}
        if limit == inf:
            unlimited = frozenset(highest)
        limit = low_limit(highest, rates) or inf
    limited = {day: most for day, most in (found.highest or {}).items() if day not in unlimited}
    return replace(found, highest=limited) if is_learned(limited) else found


def low_limit(highest: Mapping[int, float | None], rates: Rates) -> float | None:
    """Return above which deficit the volume is too low; None if there are too few days."""
    usual = usual_limit({day: most for day, most in highest.items() if most is not None})
    if usual is None:
        return None
    return max(FACTOR * usual, MIN_HOURS * SHARE * rates.mean(), MIN_MESSAGES)


def is_learned(highest: Mapping[int, float | None]) -> bool:
    """Return whether the days on record are enough, without a replay."""
    return sum(most is not None for most in highest.values()) >= MIN_DAYS
