"""How far the messages of an hour or a day of a topic usually are from what is expected: pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from busmon.silence.rates import WEEK_HOURS, Hour, Rates

RARE = 0.05  # of all hours, or days: so many were lower, and so many higher
MIN_WATCHED = 0.9  # of a span; of the others too little is known

Factors = tuple[float, float]  # of what is expected: below the first and above the second is rare


@dataclass(frozen=True, slots=True)
class Spread:
    """Between which factors of what is expected most hours and most days are."""

    hour: Factors
    day: Factors


def spread(history: Sequence[Hour], rates: Rates) -> Spread:
    """Return it for a history of which the rates were learned."""
    by_day = (list(hours) for _, hours in groupby(history, lambda one: one.hour // 24))
    days = (hours for hours in by_day if len(hours) == 24)
    return Spread(_factors(([hour] for hour in history), rates), _factors(days, rates))


def _factors(spans: Iterable[Sequence[Hour]], rates: Rates) -> Factors:
    factors = sorted(_ratios(spans, rates)) or [1.0]
    rare = int(RARE * len(factors))
    return factors[rare], factors[-1 - rare]


def _ratios(spans: Iterable[Sequence[Hour]], rates: Rates) -> Iterator[float]:
    for span in spans:
        watched = sum(hour.watched for hour in span)
        if watched >= MIN_WATCHED * len(span):
            expected = sum(rates.hourly[hour.hour % WEEK_HOURS] * hour.watched for hour in span)
            yield sum(hour.messages for hour in span) / expected
