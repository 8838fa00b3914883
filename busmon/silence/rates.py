"""The usual rate of a topic by hour of the week, learned from hourly counts: pure functions.

Hours and days are whole ones of Unix time, rates are messages an hour.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median
from typing import NamedTuple

HOUR = 3600  # seconds
WEEK = 168  # hours
LEARNED = 13 * WEEK  # hours before the last message from which rates are learned
HALF_LIFE = 4 * WEEK  # hours after which an hour counts half: topics grow and shrink
LEAST_DAYS = 28  # with all hours of the week in them four times
LEAST_MESSAGES = 30  # fewer in all of that time tell no rate
CAP = 3.0  # times the usual messages of a day: more are a mass rebuild, and not its rate
SURE = 10  # messages of a usual day; one without any is an outage then, or a holiday
PRIOR = 10.0  # messages for which an hour of the week is believed to be like its neighbours
LEAST_RATE = 0.02  # of the mean: a night without any message yet still counts a little


class Hour(NamedTuple):
    """What came in one hour."""

    hour: int
    messages: int
    watched: float  # the part of the hour in which busmon was not blind


@dataclass(frozen=True, slots=True)
class Rates:
    """The usual rate of a topic by hour of the week; the week begins on Thursday, 0:00 UTC."""

    hourly: tuple[float, ...]
    sums: tuple[float, ...]  # messages before each hour of the week, and of a whole week

    @classmethod
    def of(cls, hourly: Sequence[float]) -> "Rates":
        """Return these 168 rates."""
        return cls(tuple(hourly), (0.0, *accumulate(hourly)))

    def expected(self, since: float, until: float) -> float:
        """Return the messages that usually come between two Unix times."""
        return self._before(until) - self._before(since)

    def mean(self) -> float:
        """Return the mean rate of a week."""
        return self.sums[WEEK] / WEEK

    def _before(self, moment: float) -> float:
        weeks, hours = divmod(moment / HOUR, WEEK)
        whole = min(int(hours), WEEK - 1)
        return weeks * self.sums[WEEK] + self.sums[whole] + (hours - whole) * self.hourly[whole]


def is_weekend(day: int) -> bool:
    """Tell whether the day of Unix time is a Saturday or Sunday; day 0 was a Thursday."""
    return day % 7 in {2, 3}


def learn_rates(history: Sequence[Hour]) -> Rates | None:
    """Return the usual rates, or None where there is too little history.

    Recent weeks weigh more. A day with more than `CAP` times its usual messages counts as
    one with so many, and a day without any as none where that is not usual. Each hour of
    the week is drawn towards the same hour of the other working days (or of the weekend)
    and its neighbours, the more the fewer messages it has.
    """
    known = [hour for hour in history if hour.watched > 0]
    if sum(hour.watched for hour in known) < LEAST_DAYS * 24 * 0.9:
        return None
    if sum(hour.messages for hour in known) < LEAST_MESSAGES:
        return None
    factors = _factors(known)
    newest = known[-1].hour
    messages, weights = [0.0] * WEEK, [0.0] * WEEK
    for hour, number, watched in known:
        factor = factors[hour // 24]
        if factor is None:
            continue
        weight = 0.5 ** ((newest - hour) / HALF_LIFE)
        messages[hour % WEEK] += weight * number * factor
        weights[hour % WEEK] += weight * watched
    return Rates.of(
        [
            (m + PRIOR) / (w + PRIOR / usual)
            for m, w, usual in zip(messages, weights, _profile(messages, weights), strict=True)
        ]
    )


def _factors(known: Iterable[Hour]) -> dict[int, float | None]:
    """Return by which factor the messages of each day count; None: the day does not count."""
    totals: dict[int, int] = {}
    for hour in known:
        totals[hour.hour // 24] = totals.get(hour.hour // 24, 0) + hour.messages
    usual = {
        weekend: median([n for day, n in totals.items() if is_weekend(day) == weekend] or [0])
        for weekend in (False, True)
    }
    factors: dict[int, float | None] = {}
    for day, total in totals.items():
        of_a_day = usual[is_weekend(day)]
        cap = CAP * of_a_day + SURE
        factors[day] = None if not total and of_a_day >= SURE else min(1.0, cap / max(total, 1))
    return factors


def _profile(messages: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the rate of each hour of the week if all working days, and both others, were alike."""
    sums = {(weekend, hour): [0.0, 0.0] for weekend in (False, True) for hour in range(24)}
    for index in range(WEEK):
        day, hour = divmod(index, 24)
        # A third of the neighbours: what comes at 9:50 on one day comes at 10:10 on another.
        for neighbour, share in ((hour - 1, 0.25), (hour, 0.5), (hour + 1, 0.25)):
            of = sums[is_weekend(day), neighbour % 24]
            of[0] += share * messages[index]
            of[1] += share * weights[index]
    least = LEAST_RATE * sum(messages) / sum(weights)
    alike = {key: max(m / w if w else 0.0, least) for key, (m, w) in sums.items()}
    return [alike[is_weekend(index // 24), index % 24] for index in range(WEEK)]
