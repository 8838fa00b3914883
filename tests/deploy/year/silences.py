"""What busmon's own code says of the silence of each topic, minute by minute of a year."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from busmon.silence.baseline import Baseline
from busmon.silence.state import PAGE, together
from tests.silence.simulation.detectors import HOUR, Busmon, run
from tests.silence.simulation.traffic import DAYS, MINUTES, Span, Year

SHORT = 10  # minutes: no topic is silent after so short a pause
LEARN_EVERY = 7  # days
IS_PAGED, IS_SILENT, FLOWS = 2.0, 1.2, 0.0  # the ratios that the rules tell apart


@dataclass(frozen=True)
class Silence:
    """Of one topic, by the minute: the ratio, what should have come, and its last message."""

    topic: str
    ratio: np.ndarray
    expected: np.ndarray
    since: np.ndarray  # the minute of the last message
    busmon: Busmon

    def limit(self, minute: float) -> float:
        """Return after how many minutes it is silent if nothing comes from this minute on."""
        return self.busmon.detects(int(minute))


class _Watched(Busmon):
    """Writes down what it says in each minute."""

    def __init__(self, year: Year, blind: Sequence[Span]) -> None:
        super().__init__(year, blind, LEARN_EVERY)
        self.ratio, self.expected = np.zeros(MINUTES), np.zeros(MINUTES)

    def _pause(self, baseline: Baseline | None, since: int, until: int) -> float:
        expected = super()._pause(baseline, since, until)
        if until - since > SHORT:
            begin = max(since, (until - 1) // HOUR * HOUR)
            passed = (np.arange(begin, until) - since) / (until - since)
            self.expected[begin:until] = expected * passed
            for factor, ratio in ((1.0, IS_SILENT), (PAGE, IS_PAGED)):
                self.ratio[self._first(baseline, since, begin, until, factor) : until] = ratio
        return expected

    def _first(
        self, baseline: Baseline | None, since: int, begin: int, until: int, factor: float
    ) -> int:
        """Return the first minute at which the ratio exceeds the factor, else `until`."""
        while begin < until:
            middle = (begin + until) // 2
            exceeds = (self._judge(baseline, since, middle).ratio or 0.0) > factor
            begin, until = (begin, middle) if exceeds else (middle + 1, until)
        return until


def silences(years: Sequence[Year], blind: Sequence[Span]) -> list[Silence]:
    """Return the silence of the topics of a bus."""
    watched = [_Watched(year, blind) for year in years]
    run([*watched], range(DAYS * 24))
    found = []
    for year, busmon in zip(years, watched, strict=True):
        minutes = np.where(year.received > 0, np.arange(MINUTES), 0)
        since = np.maximum.accumulate(minutes)
        found.append(Silence(year.topic.name, busmon.ratio, busmon.expected, since, busmon))
    return found


def silent_together(topics: Sequence[Silence]) -> dict[str, np.ndarray]:
    """Return, by topic, the minutes in which it is silent together with others of its bus."""
    marks = {topic.topic: np.zeros(MINUTES, dtype=bool) for topic in topics}
    silent = np.array([topic.ratio > 1 for topic in topics])
    starts = np.array([_begins(of) for of in silent])
    changes = np.flatnonzero((silent[:, 1:] != silent[:, :-1]).any(axis=0)) + 1
    edges = [0, *changes.tolist(), MINUTES]
    for begin, end in pairwise(edges):
        now = np.flatnonzero(silent[:, begin]).tolist()
        since = {topics[i].topic: 60.0 * starts[i, begin] for i in now}
        for name in together(since):
            marks[name][begin:end] = True
    return marks


def _begins(silent: np.ndarray) -> np.ndarray:
    """Return since which minute it has been silent."""
    began = np.diff(silent, prepend=False) & silent
    begins: np.ndarray = np.maximum.accumulate(np.where(began, np.arange(MINUTES), 0))
    return begins
