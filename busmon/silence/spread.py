"""How far the messages of an hour or a day of a topic usually are from what is expected: pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from busmon.silence.rates import WEEK_HOURS, Hour, Rates

RARE = 0.05  # of all hours, or days: so many were lower, and so many higher
MIN_WATCHED = 0.9  # of a span; of the others too little is known

Factors = tuple[float, float]  # of what is expected: below the first and above the second is rare


@dataclass(frozen=True, slots=True)
class Spread:
    """Between which factors of what is expected most hours and most days are."""

    hour: Factors
    day: Factors


def spread(history: Iterable[Hour], rates: Rates) -> Spread:
    """Return it for a history of which the rates were learned."""
    hours: list[float] = []
    days: dict[int, list[float]] = {}  # messages, what was expected, hours that were watched
    for hour, messages, watched in history:
        expected = rates.hourly[hour % WEEK_HOURS] * watched
        if watched >= MIN_WATCHED:
            hours.append(messages / expected)
        day = days.setdefault(hour // 24, [0.0, 0.0, 0.0])
        day[0] += messages
        day[1] += expected
        day[2] += watched
    whole = [
        messages / usual for messages, usual, part in days.values() if part >= 24 * MIN_WATCHED
    ]
    return Spread(_factors(hours), _factors(whole))


def _factors(ratios: Iterable[float]) -> Factors:
    factors = sorted(ratios) or [1.0]
    rare = int(RARE * len(factors))
    return factors[rare], factors[-1 - rare]
