"""Who would have called when: busmon's own code, Nagios's thresholds, two habits in PromQL."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from busmon.silence.baseline import Baseline
from busmon.silence.deficit import Deficit
from busmon.silence.learning import NO_DEFICIT, Learned, learn_topic
from busmon.silence.pace import COMMON, OWN, Pace, common_pace, pace_at_end
from busmon.silence.rates import WEEK_HOURS, Hour
from busmon.silence.state import PAGE, SilenceState, silence_state
from tests.silence.simulation.kinds import KindYear
from tests.silence.simulation.traffic import DAY, DAYS, MINUTES, START, Span, Year

HOUR = 60  # minutes
FIRST_HOUR = START // 3600
MEMORY = 90 * 24  # hours that a pace can remember
CANDIDATES = 3  # pauses of an hour that may be its longest
LONGEST = 60 * DAY  # an outage, in minutes: who has not called by then never will
Alarm = tuple[int, int]  # the first and the last minute of it
Past = Callable[[int], list[Hour]]


class Busmon:
    """The real functions on one topic, by the minute, as the service calls them.

    They learn every so many days here, not every hour, for speed; the paces are new each hour.
    `begin` is the hour of the first start; what was sent before is unknown. Two hours later
    `past` may know of it: it returns all hours before one.
    """

    def __init__(
        self,
        year: Year | KindYear,
        blind: Sequence[Span],
        every: int,
        begin: int = 0,
        past: Past | None = None,
    ) -> None:
        self.alarms: list[Alarm] = []
        self.pages: list[Alarm] = []  # of the alarms, those that page
        self.low: list[Alarm] = []  # times in which the volume is too low
        self.ready = MINUTES  # since when there is a baseline
        self.campaigns = False
        self._every = every
        self._soon = begin + 2 if begin else 0
        self._usual = 60.0 * year.nagios if year.nagios else None  # what ships for Packit's topics
        self._blind = [(_unix(since), _unix(until)) for since, until in blind]
        self._ends = [until for _, until in self._blind]
        received = year.received.copy()
        received[: begin * HOUR] = 0
        self._minutes = np.flatnonzero(received)
        self._history: list[Hour] = _history(received, [(0, begin * HOUR), *blind])
        self._past: Past = past or (lambda hour: self._history[:hour])
        self._recorded: dict[int, float] = {}
        self._baselines: dict[int, Baseline | None] = {}  # as they were, by hour
        self._learned: Learned | None = None
        self._deficit = NO_DEFICIT
        self._volumes: dict[int, tuple[Learned, Deficit, float]] = {}  # by hour
        self._paces, self._paced = (Pace(), Pace()), 0  # and the hours that are in them
        self._silent: float | None = None  # the pace at which it is silent
        self._since, self._position = int(self._minutes[0]), 0  # the last message

    def learn(self, hour: int) -> float | None:
        """Learn from the hours before this one; return the pace, if there is one."""
        last = self._since // HOUR + 1
        if (hour % (24 * self._every) == 0 or hour == self._soon) and hour:
            past = self._past(hour)
            now = Hour(FIRST_HOUR + hour, 0, 0.0)
            self._learned = learn_topic([*past, now], self._recorded, self._deficit)
            if self._learned:
                if self._deficit is NO_DEFICIT:
                    self._deficit = self._learned.deficit
                rates = self._learned.baseline.rates
                known = [one for one in past if -MEMORY <= one.hour - FIRST_HOUR - last < 0]
                own, recent = (pace_at_end(known, rates, memory) for memory in (OWN, COMMON))
                self._paces, self._paced = (own, recent), last
                self.campaigns = self._learned.baseline.campaigns
        if self._learned is None:
            return None
        if not self.campaigns:
            self.ready = min(self.ready, hour * HOUR)
        rates = self._learned.baseline.rates
        decays = OWN.decay(rates), COMMON.decay(rates)
        for number, messages, watched in self._history[self._paced : min(last, hour)]:
            expected = rates.hourly[number % WEEK_HOURS] * watched
            own, recent = (
                pace.after(messages, expected, decay)
                for pace, decay in zip(self._paces, decays, strict=True)
            )
            self._paces = own, recent
        self._paced = max(self._paced, min(last, hour))
        return self._paces[1].factor()

    def watch(self, hour: int, common: float) -> None:
        """Watch for one hour; `common` is the pace of the whole bus."""
        end = int(np.searchsorted(self._minutes, (hour + 1) * HOUR))
        ends, self._position = self._minutes[self._position : end], end
        before = self._since
        self._since = int(ends[-1]) if len(ends) else before
        if self._learned is None:
            self._pause(None, before, int(ends[0]) if len(ends) else (hour + 1) * HOUR)
            return
        pace = min(self._paces[0].factor(), common) if self._silent is None else self._silent
        baseline = self._baselines[hour] = replace(self._learned.baseline, pace=pace)
        lengths = np.diff(ends, prepend=before)
        # Within an hour the longest in minutes is the longest in messages, or nearly.
        for index in np.argsort(lengths)[-CANDIDATES:]:
            since, until = int(ends[index] - lengths[index]), int(ends[index])
            expected = min(self._pause(baseline, since, until), baseline.limit)
            day = (FIRST_HOUR + hour) // 24
            self._recorded[day] = max(self._recorded.get(day, 0.0), expected)
        self._pause(baseline, self._since, (hour + 1) * HOUR)
        silent = self._judge(baseline, self._since, (hour + 1) * HOUR).silent
        self._silent = pace if silent else None
        self._watch_volume(hour, common)

    def moments(self, minutes: Iterable[int]) -> list[int]:
        """Return those of these minutes at which there is a baseline."""
        if self.campaigns:
            return []
        return [minute for minute in minutes if minute >= self.ready]

    def detects(self, start: int, factor: float = 1.0) -> float:
        """Return the minutes from the start of an outage to the alarm."""
        baseline = self._baselines.get(start // HOUR)
        number = int(np.searchsorted(self._minutes, start))
        if not number:
            return LONGEST  # what never came is not silent
        since = int(self._minutes[number - 1])
        low, high = start, start + LONGEST
        while low < high:
            middle = (low + high) // 2
            silent = (self._judge(baseline, since, middle).ratio or 0.0) > factor
            low, high = (low, middle) if silent else (middle + 1, high)
        return low - start

    def finds_low(self, start: int, part: float, rng: np.random.Generator) -> float:
        """Return the minutes until it is found that only this part of the messages comes."""
        first = start // HOUR
        if first not in self._volumes or self._volumes[first][0].low_limit is None:
            return LONGEST
        learned, deficit, pace = self._volumes[first]
        limit = learned.low_limit or 0.0
        for past, one in enumerate(self._history[first + 1 : first + LONGEST // HOUR], 1):
            thin = one._replace(messages=int(rng.binomial(one.messages, part)))
            deficit = deficit.after([thin], learned.baseline.rates, pace, limit)
            if deficit.messages > limit:
                return past * HOUR
        return LONGEST

    def _watch_volume(self, hour: int, common: float) -> None:
        learned = self._learned
        if learned is None or learned.low_limit is None or self.campaigns:
            return
        hours = self._history[hour : hour + 1]
        limit = learned.low_limit
        self._deficit = self._deficit.after(hours, learned.baseline.rates, common, limit)
        self._volumes[hour] = learned, replace(self._deficit, highest=None), common
        if self._deficit.messages > limit:
            _extend(self.low, hour * HOUR, (hour + 1) * HOUR, joined=True)

    def _pause(self, baseline: Baseline | None, since: int, until: int) -> float:
        state = self._judge(baseline, since, until)
        for alarms, factor in ((self.alarms, 1.0), (self.pages, PAGE)):
            if (state.ratio or 0.0) > factor:
                _extend(alarms, since, until)
        return state.expected or 0.0

    def _judge(self, baseline: Baseline | None, since: int, until: int) -> SilenceState:
        first = bisect_right(self._ends, _unix(since))
        last = bisect_right(self._blind, (_unix(until), 0.0))
        blind = self._blind[first:last]
        return silence_state(baseline, _unix(since), _unix(until), blind, usual=self._usual)


def _extend(alarms: list[Alarm], since: int, until: int, *, joined: bool = False) -> None:
    """Add an alarm; one that begins as the last one did, or where it ended, goes on with it."""
    if alarms and (alarms[-1][0] == since or (joined and alarms[-1][1] == since)):
        since, _ = alarms.pop()
    alarms.append((since, until))


def watch(years: Sequence[Year | KindYear], blind: Sequence[Span], every: int) -> list[Busmon]:
    """Let busmon watch all topics of a bus for a year."""
    return run([Busmon(year, blind, every) for year in years], range(DAYS * 24))


def run(topics: list[Busmon], hours: range) -> list[Busmon]:
    """Let busmon watch all topics of a bus in these hours."""
    for hour in hours:
        paces = [pace for topic in topics if (pace := topic.learn(hour)) is not None]
        common = common_pace(paces)
        for topic in topics:
            topic.watch(hour, common)
    return topics


def _unix(minute: int) -> float:
    return START + 60.0 * minute


def _history(received: np.ndarray, blind: Sequence[Span]) -> list[Hour]:
    watched = np.ones(MINUTES)
    for since, until in blind:
        watched[since:until] = 0
    hours = zip(
        received.reshape(-1, HOUR).sum(1).tolist(),
        watched.reshape(-1, HOUR).mean(1).tolist(),
        strict=True,
    )
    return [Hour(FIRST_HOUR + index, *hour) for index, hour in enumerate(hours)]


class Detector(Protocol):
    alarms: list[Alarm]

    def detects(self, start: int) -> float:
        """Return the minutes from the start of an outage to the alarm."""


class Fixed:
    """A threshold in minutes, as Nagios has it; `increase(x[1h]) == 0` is one of an hour."""

    def __init__(self, messages: np.ndarray, minutes: int) -> None:
        self._minutes, self._threshold = np.flatnonzero(messages), minutes
        pauses = np.flatnonzero(np.diff(self._minutes) > minutes)
        self.alarms = [(int(self._minutes[i]) + minutes, int(self._minutes[i + 1])) for i in pauses]

    def detects(self, start: int) -> float:
        """Return the minutes from the start of an outage to the alarm."""
        since = int(self._minutes[np.searchsorted(self._minutes, start) - 1])
        return max(0, since + self._threshold - start)


class LastWeek:
    """`increase(x[1h]) < 0.1 * increase(x[1h] offset 1w)`."""

    def __init__(self, messages: np.ndarray) -> None:
        self._sums = np.concatenate([[0], np.cumsum(messages)])
        self._increase = np.zeros(MINUTES + 1)
        self._increase[HOUR:] = self._sums[HOUR:] - self._sums[:-HOUR]
        alarm = np.zeros(MINUTES + 3, dtype=np.int8)
        alarm[1 + WEEK_HOURS * HOUR : -1] = (
            self._increase[WEEK_HOURS * HOUR :] < 0.1 * self._increase[: -WEEK_HOURS * HOUR]
        )
        edges = np.flatnonzero(np.diff(alarm)).tolist()
        self.alarms = list(zip(edges[::2], edges[1::2], strict=True))

    def detects(self, start: int) -> float:
        """Return the minutes from the start of an outage to the alarm; a week at most."""
        moments = np.arange(start, min(start + WEEK_HOURS * HOUR, MINUTES))
        hour_before = self._sums[start] - self._sums[np.minimum(start, moments - HOUR)]
        alarm = np.flatnonzero(hour_before < 0.1 * self._increase[moments - WEEK_HOURS * HOUR])
        return float(alarm[0]) if len(alarm) else float(WEEK_HOURS * HOUR)


def false_alarms(
    alarms: Iterable[Alarm], year: Year | KindYear, since: int, after: int = HOUR
) -> int:
    """Return the alarms from a minute on that no outage explains; those an hour apart are one.

    An outage explains what begins within so many minutes `after` it.
    """
    number, end = 0, -DAY
    for first, last in alarms:
        explained = any(first < b + after and last > a - HOUR for a, b in year.outages)
        if last >= since and not explained:
            number += first - end > HOUR
            end = last
    return number
