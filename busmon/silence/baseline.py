"""What is usual of a topic: pure functions of hourly counts and of the longest pauses.

A pause is not measured in time: a Sunday night without a message is normal, a Tuesday noon is an
outage. It is measured in expected messages, from the topic's usual rate at each hour of the week.
How many of them are too many is learned from the longest pause of each day. That
needs no model of how messages arrive: a topic whose messages come in bursts has long pauses.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from busmon.silence.rates import MIN_DAYS, WEEK_HOURS, Hour, Rates, learn_rates

PACE_HALF_LIFE_MESSAGES, PACE_HALF_LIFE_HOURS = 30.0, 12.0  # the longer one of the two holds
PACE_PRIOR_MESSAGES = 5.0  # without messages, the pace counts as the usual one

MIN_PAUSE_HOURS = 0.25  # at the mean rate; a shorter pause is never silence
MIN_TOPICS = 5  # whose paces together give that of a bus

RETURN_PERIOD_DAYS = 4 * 365  # by chance, a pause exceeds the limit once in this time
MARGIN_FACTOR = 1.2  # over the longest pause, except on OUTAGE_FRACTION of the days
OUTAGE_FRACTION = 0.02  # of the days: their longest pauses may be outages


@dataclass(frozen=True, slots=True)
class Pace:
    """Recent messages of a topic, and how many were expected; both decay with a half-life.

    On a holiday everything is slower than usual, so pauses are longer. The pace does not change
    during a pause: otherwise silence would explain itself.
    """

    messages: float = 0.0
    expected: float = 0.0

    def after(self, messages: int, expected: float, decay: float) -> "Pace":
        """Return the pace after some more time."""
        return Pace(self.messages * decay + messages, self.expected * decay + expected)

    def factor(self) -> float:
        """Return the fraction of the usual rates that is to be expected, at most 1."""
        return min(
            1.0, (self.messages + PACE_PRIOR_MESSAGES) / (self.expected + PACE_PRIOR_MESSAGES)
        )


def decay(rates: Rates, hours: float = 1.0) -> float:
    """Return the fraction of the pace's memory that is left after some hours."""
    half_life = max(PACE_HALF_LIFE_HOURS, PACE_HALF_LIFE_MESSAGES / rates.mean())
    return float(0.5 ** (hours / half_life))


def reconstruct_pauses(history: Sequence[Hour], rates: Rates) -> tuple[Pace, dict[int, float]]:
    """Return the pace at the last message, and the longest pause that ended on each day.

    Pauses are in expected messages. Within an hour nothing is known of them, so the longest
    possible pause is assumed.
    """
    pace, fading = Pace(), decay(rates)
    since = Pace()  # since the last hour with a message
    hours, pause = 0, 0.0
    longest: dict[int, float] = {}
    for hour, messages, watched in history:
        expected = rates.hourly[hour % WEEK_HOURS] * watched
        pause += expected * pace.factor()
        since, hours = since.after(messages, expected, fading), hours + 1
        if not messages:
            continue
        longest[hour // 24] = max(longest.get(hour // 24, 0.0), pause)
        left = fading**hours
        pace = Pace(pace.messages * left + since.messages, pace.expected * left + since.expected)
        since, hours, pause = Pace(), 0, expected * pace.factor() / 2
    return pace, longest


def pause_limit(longest: Iterable[float]) -> float | None:
    """Return the longest pause that still happens by chance; None if there are too few days.

    `longest` are the longest pauses of each day. They follow the distribution of extreme values
    (Gumbel's, since pauses between independent events have an exponential tail). Its two
    parameters come from the median and the 90th percentile, which an outage on one day in ten
    does not change. The limit is exceeded once in `RETURN_PERIOD_DAYS`. It is also a bit more
    than any pause so far, except for the few days that may have been outages.
    """
    ordered = sorted(longest)
    if len(ordered) < MIN_DAYS * 0.9:
        return None
    half, most = _quantile(ordered, 0.5), _quantile(ordered, 0.9)
    scale = (most - half) / (_gumbel(0.9) - _gumbel(0.5))
    by_chance = half + scale * (_gumbel(1 - 1 / RETURN_PERIOD_DAYS) - _gumbel(0.5))
    return max(by_chance, MARGIN_FACTOR * _quantile(ordered, 1 - OUTAGE_FRACTION))


def _gumbel(probability: float) -> float:
    return -math.log(-math.log(probability))


def _quantile(ordered: Sequence[float], probability: float) -> float:
    place = probability * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is usual for one topic."""

    rates: Rates
    pace: float
    limit: float

    def expected(
        self, since: float, until: float, blind_times: Iterable[tuple[float, float]]
    ) -> float:
        """Return the expected messages between two Unix times, without those of blind times."""
        if until <= since:
            return 0.0
        unseen = sum(
            self.rates.expected(max(start, since), min(end, until))
            for start, end in blind_times
            if start < until and end > since
        )
        return max(0.0, self.rates.expected(since, until) - unseen) * self.pace


def learn(history: Sequence[Hour], recorded: Mapping[int, float]) -> Baseline | None:
    """Return the baseline of a topic, or None if there is too little history.

    `history` has no gaps and ends with the hour of the last message: a pause that is not over
    teaches nothing. `recorded` are the longest pauses of days, in the messages that were expected
    at that time; they are more exact than hourly counts.
    """
    rates = learn_rates(history)
    if rates is None:
        return None
    pace, longest = reconstruct_pauses(history, rates)
    seen = dict(recorded)
    most = pause_limit((seen if len(seen) >= MIN_DAYS else longest | seen).values())
    if most is None:
        return None
    return Baseline(rates, pace.factor(), max(most, MIN_PAUSE_HOURS * rates.mean()))


def common_pace(paces: Sequence[float]) -> float:
    """Return the pace of a bus, from those of its topics: on a holiday most are slow.

    A rare topic learns of a holiday from the busy ones. If all topics are silent, nothing changes.
    """
    return median(paces) if len(paces) >= MIN_TOPICS else 1.0
