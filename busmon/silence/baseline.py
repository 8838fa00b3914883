"""Silence of a topic, learned: pure functions over hourly counts and the longest pauses.

Time is not what tells silence: a Sunday night without a message is nothing, a Tuesday
noon is an outage. So a pause is measured in messages that should have come meanwhile,
by the topic's usual rate at each hour of the week. How many are too many is learned,
too: from the longest pause of each day, measured the same way. That needs no model of
how the messages arrive: a topic whose messages come in bursts has long pauses.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from statistics import median

from busmon.silence.rates import LEAST_DAYS, WEEK, Hour, Rates, learn_rates

PACE_MESSAGES, PACE_HOURS = 30.0, 12.0  # half-life of the pace: the longer of the two
PACE_PRIOR = 5.0  # messages for which the pace is believed to be the usual one

LEAST_PAUSE = 0.25  # hours at the mean rate; a shorter pause is never silence
COMMON = 5  # topics whose paces together tell that of a bus

RETURN_DAYS = 4 * 365  # a pause above the limit is to come once in so many days by chance
MARGIN = 1.2  # over the longest pause but `SPARED`
SPARED = 0.02  # the part of the days whose longest pauses may be outages


@dataclass(frozen=True, slots=True)
class Pace:
    """How a topic went of late, against its usual rates: both decay with a half-life.

    On a holiday everything is slow, and a pause is as long as it is for that. The pace
    stands still while a topic pauses, so that silence does not explain itself.
    """

    messages: float = 0.0
    expected: float = 0.0

    def after(self, messages: int, expected: float, decay: float) -> "Pace":
        """Return the pace after some more time."""
        return Pace(self.messages * decay + messages, self.expected * decay + expected)

    def factor(self) -> float:
        """Return the part of the usual rates that is to be expected, at most 1."""
        return min(1.0, (self.messages + PACE_PRIOR) / (self.expected + PACE_PRIOR))


def decay(rates: Rates, hours: float = 1.0) -> float:
    """Return what is left of the pace's memory after some hours."""
    half_life = max(PACE_HOURS, PACE_MESSAGES / rates.mean())
    return float(0.5 ** (hours / half_life))


def reconstruct_pauses(history: Sequence[Hour], rates: Rates) -> tuple[Pace, dict[int, float]]:
    """Return the pace at the last message, and the longest pause that ended on each day.

    Pauses are in expected messages. Within an hour they are not known: there they are
    taken for as long as they can be.
    """
    pace, fading = Pace(), decay(rates)
    since = Pace()  # what came and should have come since the last hour with a message
    hours, pause = 0, 0.0
    longest: dict[int, float] = {}
    for hour, messages, watched in history:
        expected = rates.hourly[hour % WEEK] * watched
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
    """Return the longest pause that is still by chance, from the longest of each day.

    Longest pauses are distributed as extreme values are (Gumbel's distribution, since
    pauses between independent events have an exponential tail). Its two parameters are
    read from the median and the 90th percentile, which an outage on one day in ten does
    not move; the limit is what it exceeds once in `RETURN_DAYS`. And it is some more than
    what was there already, but for the few days that may have been outages.
    """
    ordered = sorted(longest)
    if len(ordered) < LEAST_DAYS * 0.9:
        return None
    half, most = _quantile(ordered, 0.5), _quantile(ordered, 0.9)
    scale = (most - half) / (_gumbel(0.9) - _gumbel(0.5))
    by_chance = half + scale * (_gumbel(1 - 1 / RETURN_DAYS) - _gumbel(0.5))
    return max(by_chance, MARGIN * _quantile(ordered, 1 - SPARED))


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

    def expected(self, since: float, until: float, blind: Iterable[tuple[float, float]]) -> float:
        """Return how many messages should have come, without those of the blind times."""
        if until <= since:
            return 0.0
        unseen = sum(
            self.rates.expected(max(start, since), min(end, until))
            for start, end in blind
            if start < until and end > since
        )
        return max(0.0, self.rates.expected(since, until) - unseen) * self.pace


def learn(history: Sequence[Hour], recorded: Mapping[int, float]) -> Baseline | None:
    """Return the baseline of a topic, or None where there is too little history.

    `history` is without holes and ends with the hour of the last message: a pause that
    goes on is not learned from. `recorded` are the longest pauses of days in expected
    messages, as they were when they were seen; they are more exact than hourly counts.
    """
    rates = learn_rates(history)
    if rates is None:
        return None
    pace, longest = reconstruct_pauses(history, rates)
    seen = dict(recorded)
    most = pause_limit((seen if len(seen) >= LEAST_DAYS else longest | seen).values())
    if most is None:
        return None
    return Baseline(rates, pace.factor(), max(most, LEAST_PAUSE * rates.mean()))


def common_pace(paces: Sequence[float]) -> float:
    """Return the pace of a bus by those of its topics: on a holiday most are slow.

    The busy ones tell it before a rare one can. It stands still where all are silent.
    """
    return median(paces) if len(paces) >= COMMON else 1.0


@dataclass(frozen=True, slots=True)
class State:
    """What is to be said of a topic just now."""

    ready: bool  # whether there is a baseline
    silent: bool
    expected: float | None = None  # messages since the last one; None without a baseline
    limit: float | None = None  # messages


def judge(
    baseline: Baseline | None,
    last: float | None,
    now: float,
    blind: Sequence[tuple[float, float]],
    configured: float | None = None,
    usual: float | None = None,
) -> State:
    """Return the state of a topic whose last message came at `last`; None: never yet.

    `configured` is a longest silence in seconds that holds in place of what was learned.
    `usual` is one that holds beside it: a topic with a baseline is silent for no longer.
    Blind times count for neither.
    """
    if last is None or baseline is None:
        expected = most = None
    else:
        expected, most = baseline.expected(last, now, blind), baseline.limit
    quiet = 0.0 if last is None else now - last - _overlap(blind, last, now)
    if configured is not None:
        silent = quiet > configured
    elif expected is None or most is None:
        silent = False
    else:
        silent = expected > most or (usual is not None and quiet > usual)
    return State(baseline is not None, silent, expected, most)


def _overlap(spans: Iterable[tuple[float, float]], since: float, until: float) -> float:
    return sum(max(0.0, min(end, until) - max(start, since)) for start, end in spans)


def bound(patterns: Mapping[str, int], topic: str) -> int | None:
    """Return the longest silence of a topic: by its own name, else by the first pattern."""
    if topic in patterns:
        return patterns[topic]
    return next((bound for p, bound in patterns.items() if fnmatchcase(topic, p)), None)
