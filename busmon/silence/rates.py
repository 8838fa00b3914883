"""The usual rate of a topic by hour of the week, learned from hourly counts: pure functions.

Hours and days are those of Unix time. Rates are messages per hour.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median
from typing import NamedTuple

HOUR_SECONDS, DAY_SECONDS = 3600, 86400
WEEK_HOURS = 168
LEARNED_DAYS = 13 * 7  # before the last message
LEARNED_HOURS = LEARNED_DAYS * 24
RARE_HALF_LIFE_HOURS = 17 * WEEK_HOURS  # of rare topics, which are learned over 13 months
HALF_LIFE_HOURS = 4 * WEEK_HOURS  # an hour of this age counts half: topics grow and shrink
MIN_DAYS = 28  # so that each hour of the week is there four times
MIN_MESSAGES = 30  # in all of the time
MAX_DAY_FACTOR = 3.0  # times the usual messages of a day; more are a mass rebuild, for example
MIN_USUAL_MESSAGES = 10  # of a day: then a day without any is an outage or a holiday
PRIOR_MESSAGES = 10.0  # with fewer messages, an hour is like the same hour of other days
MIN_RATE_FRACTION = 0.02  # of the mean rate: a night without messages still counts a little


class Hour(NamedTuple):
    """The messages of one hour."""

    hour: int
    messages: int
    watched: float  # the fraction of the hour in which busmon was not blind


@dataclass(frozen=True, slots=True)
class Rates:
    """The usual rate of a topic by hour of the week; the week begins on Thursday, 0:00 UTC."""

    hourly: tuple[float, ...]
    sums: tuple[float, ...]  # messages before each hour of the week, and of a whole week

    @classmethod
    def of(cls, hourly: Sequence[float]) -> "Rates":
        """Make it from 168 rates."""
        return cls(tuple(hourly), (0.0, *accumulate(hourly)))

    def expected(self, since: float, until: float) -> float:
        """Return the usual number of messages between two Unix times."""
        return self._before(until) - self._before(since)

    def mean(self) -> float:
        """Return the mean rate of a week."""
        return self.sums[WEEK_HOURS] / WEEK_HOURS

    def _before(self, moment: float) -> float:
        weeks, hours = divmod(moment / HOUR_SECONDS, WEEK_HOURS)
        whole = min(int(hours), WEEK_HOURS - 1)
        return (
            weeks * self.sums[WEEK_HOURS] + self.sums[whole] + (hours - whole) * self.hourly[whole]
        )


def is_weekend(day: int) -> bool:
    """Return whether a day is a Saturday or Sunday; day 0 was a Thursday."""
    return day % 7 in {2, 3}


def learn_rates(history: Sequence[Hour]) -> Rates | None:
    """Return the usual rates, or None if there is too little history.

    Recent weeks weigh more. A day with more than `MAX_DAY_FACTOR` times its usual messages counts
    as one with that many. A day without messages does not count if that is unusual. The fewer
    messages an hour of the week has, the more it is adjusted to the same hour of the other working
    days (or weekend days), and to its neighbours.
    """
    known = _known(history)
    return _rates(known, _factors(known), HALF_LIFE_HOURS) if known else None


def learn_rare_rates(history: Sequence[Hour]) -> Rates | None:
    """Return the usual rates of a topic that has no message on most days."""
    known = _known(history)
    if not known:
        return None
    totals = _totals(known)
    usual = median(total for total in totals.values() if total)
    cap = MAX_DAY_FACTOR * usual + MIN_USUAL_MESSAGES
    factors = {day: min(1.0, cap / max(total, 1)) for day, total in totals.items()}
    return _rates(known, factors, RARE_HALF_LIFE_HOURS)


def _known(history: Sequence[Hour]) -> list[Hour]:
    """Return the hours that were watched, or none if they are too few."""
    known = [hour for hour in history if hour.watched > 0]
    enough = sum(hour.watched for hour in known) >= MIN_DAYS * 24 * 0.9
    return known if enough and sum(hour.messages for hour in known) >= MIN_MESSAGES else []


def _rates(known: Sequence[Hour], factors: Mapping[int, float | None], half_life: float) -> Rates:
    newest = known[-1].hour
    messages, weights = [0.0] * WEEK_HOURS, [0.0] * WEEK_HOURS
    for hour, number, watched in known:
        factor = factors[hour // 24]
        if factor is None:
            continue
        weight = 0.5 ** ((newest - hour) / half_life)
        messages[hour % WEEK_HOURS] += weight * number * factor
        weights[hour % WEEK_HOURS] += weight * watched
    return Rates.of(
        [
            (m + PRIOR_MESSAGES) / (w + PRIOR_MESSAGES / usual)
            for m, w, usual in zip(messages, weights, _profile(messages, weights), strict=True)
        ]
    )


def _totals(known: Iterable[Hour]) -> dict[int, int]:
    """Return the messages of each day."""
    totals: dict[int, int] = {}
    for hour in known:
        totals[hour.hour // 24] = totals.get(hour.hour // 24, 0) + hour.messages
    return totals


def _factors(known: Iterable[Hour]) -> dict[int, float | None]:
    """Return the factor by which the messages of each day count; None: the day is left out."""
    totals = _totals(known)
    usual = {
        weekend: median([n for day, n in totals.items() if is_weekend(day) == weekend] or [0])
        for weekend in (False, True)
    }
    factors: dict[int, float | None] = {}
    for day, total in totals.items():
        of_a_day = usual[is_weekend(day)]
        cap = MAX_DAY_FACTOR * of_a_day + MIN_USUAL_MESSAGES
        factors[day] = (
            None if not total and of_a_day >= MIN_USUAL_MESSAGES else min(1.0, cap / max(total, 1))
        )
    return factors


def _profile(messages: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the rate of each hour of the week as if working days were alike, and weekend days."""
    sums = {(weekend, hour): [0.0, 0.0] for weekend in (False, True) for hour in range(24)}
    for index in range(WEEK_HOURS):
        day, hour = divmod(index, 24)
        # The neighbours, too: what comes at 9:50 on one day comes at 10:10 on another.
        for neighbour, share in ((hour - 1, 0.25), (hour, 0.5), (hour + 1, 0.25)):
            of = sums[is_weekend(day), neighbour % 24]
            of[0] += share * messages[index]
            of[1] += share * weights[index]
    least = MIN_RATE_FRACTION * sum(messages) / sum(weights)
    alike = {key: max(m / w if w else 0.0, least) for key, (m, w) in sums.items()}
    return [alike[is_weekend(index // 24), index % 24] for index in range(WEEK_HOURS)]
