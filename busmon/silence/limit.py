"""How long a pause may be, from the longest pause of each day: pure functions.

A pause is not measured in time: a Sunday night without a message is normal, a Tuesday noon is an
outage. It is measured in expected messages, from the topic's usual rate at each hour of the week.
How many of them are too many is learned from the longest pause of each day. That
needs no model of how messages arrive: a topic whose messages come in bursts has long pauses.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from busmon.silence.rates import LEARNED_DAYS, MIN_DAYS

RETURN_PERIOD_DAYS = 4 * 365  # by chance, a pause exceeds the limit once in this time
MARGIN_FACTOR = 1.2  # over the longest pause, except on OUTAGE_FRACTION of the days
OUTAGE_FRACTION = 0.02  # of the days: their longest pauses may be outages
FEWEST_SEEN_DAYS, SEEN_FACTOR = 14, 1.3  # from so many exact pauses on, with this margin


def learned_limit(
    seen: Mapping[int, float], longest: Mapping[int, float], frequency: float = 1.0
) -> float | None:
    """Return the longest pause that still happens by chance; None if there are too few days.

    `seen` are pauses that busmon measured, by day; `longest` those that hourly counts allow.
    Pauses are in messages, so they grow with a topic: the last weeks count by themselves, too.
    """
    exact = len(seen) >= MIN_DAYS
    known = usual_limit(seen if exact else {**longest, **seen}, frequency)
    if known is None or exact:
        return known
    soon = pause_limit(seen.values(), frequency, FEWEST_SEEN_DAYS)
    return known if soon is None else min(known, SEEN_FACTOR * soon)


def usual_limit(longest: Mapping[int, float], frequency: float = 1.0) -> float | None:
    """Return the limit of all days, or that of the last weeks if it is higher."""
    newest = max(longest, default=0)
    recent = [most for day, most in longest.items() if day > newest - LEARNED_DAYS]
    limits = (pause_limit(longest.values(), frequency), pause_limit(recent, frequency))
    return max((limit for limit in limits if limit is not None), default=None)


def pause_limit(
    longest: Iterable[float], frequency: float = 1.0, fewest: float = MIN_DAYS * 0.9
) -> float | None:
    """Return the longest pause that still happens by chance; None if there are too few days.

    `longest` are the longest pauses of each day. They follow the distribution of extreme values
    (Gumbel's, since pauses between independent events have an exponential tail). Its two
    parameters come from the median and the 90th percentile, which an outage on one day in ten
    does not change. The limit is exceeded once in `RETURN_PERIOD_DAYS`. It is also a bit more
    than any pause so far, except for the few days that may have been outages. `frequency` is
    the part of the days on which a pause ends.
    """
    ordered = sorted(longest)
    if len(ordered) < fewest:
        return None
    half, most = _quantile(ordered, 0.5), _quantile(ordered, 0.9)
    scale = (most - half) / (_gumbel(0.9) - _gumbel(0.5))
    once = 1 - 1 / (RETURN_PERIOD_DAYS * frequency)
    by_chance = half + scale * (_gumbel(once) - _gumbel(0.5))
    return max(by_chance, MARGIN_FACTOR * _quantile(ordered, 1 - OUTAGE_FRACTION))


def _gumbel(probability: float) -> float:
    return -math.log(-math.log(probability))


def _quantile(ordered: Sequence[float], probability: float) -> float:
    place = probability * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
