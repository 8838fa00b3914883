"""The simulation's table: who finds an outage when, and at the cost of how many false alarms.

`python -m tests.silence.simulation.report [SEED…]` prints it as Markdown, of all seeds together.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.silence.simulation.detectors import (
    HOUR,
    Busmon,
    Detector,
    Fixed,
    LastWeek,
    false_alarms,
    watch,
)
from tests.silence.simulation.traffic import (
    DAY,
    MINUTES,
    TOPICS,
    Topic,
    Year,
    blind_times,
    make_year,
)

SEEDS = (1, 2, 3)
OUTAGES = 4  # a topic and year that did happen, and that busmon has to learn around
STARTS = 100  # moments at which one might have begun, for the time to detect it
LEARN_EVERY = 7  # days
BUSMON, NAGIOS, HOURLY, WEEKLY = DETECTORS = (
    "busmon",
    "Nagios, critical",
    "`increase(x[1h]) == 0`",
    "`< 0.1 * offset 1w`",
)


@dataclass(slots=True)
class Figures:
    """What one detector did on one topic, over all seeds. Times are minutes."""

    false_alarms: int = 0
    years: float = 0.0
    times: list[float] = field(default_factory=list)

    def rate(self) -> float:
        """Return the false alarms in a topic-year."""
        return self.false_alarms / self.years

    def time(self, quantile: float) -> float:
        """Return the time within which so large a part of the outages is found."""
        return float(np.quantile(self.times, quantile))


Results = dict[tuple[Topic, str], Figures]


def simulate(seeds: Iterable[int]) -> Results:
    """Return the figures of each topic and detector."""
    results = {(topic, name): Figures() for topic in TOPICS for name in DETECTORS}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        blind = blind_times(rng)
        years = [make_year(topic, blind, rng, OUTAGES) for topic in TOPICS]
        for year, busmon in zip(years, watch(years, blind, LEARN_EVERY), strict=True):
            _add(results, year, busmon, _starts(year, busmon.ready, rng))
    return results


def _add(results: Results, year: Year, busmon: Busmon, starts: Sequence[int]) -> None:
    detectors: dict[str, Detector] = {
        BUSMON: busmon,
        # Nagios asks Datagrepper, which is not blind when busmon is.
        NAGIOS: Fixed(year.sent, year.topic.nagios),
        HOURLY: Fixed(year.received, HOUR),
        WEEKLY: LastWeek(year.received),
    }
    for name, detector in detectors.items():
        figures = results[year.topic, name]
        figures.false_alarms += false_alarms(detector.alarms, year, busmon.ready)
        figures.years += (MINUTES - busmon.ready) / DAY / 365
        figures.times += [detector.detects(start) for start in starts]


def _starts(year: Year, ready: int, rng: np.random.Generator) -> list[int]:
    """Return when outages begin: those that happen, and moments apart from them."""
    moments = rng.integers(ready, MINUTES - 1, STARTS).tolist()
    apart = [
        moment
        for moment in moments
        if not any(since - HOUR <= moment <= until + HOUR for since, until in year.outages)
    ]
    return [*(since for since, _ in year.outages if since >= ready), *apart]


def overall(results: Results, detector: str) -> float:
    """Return the false alarms in a topic-year over all topics."""
    figures = [of for (_, name), of in results.items() if name == detector]
    return sum(of.false_alarms for of in figures) / sum(of.years for of in figures)


def table(results: Results) -> str:
    """Return the results as Markdown."""
    lines = [
        "False alarms in a topic-year; median and 90th percentile of the time to detect.",
        "",
        "| topic | " + " | ".join(DETECTORS) + " |",
        "|---" * (len(DETECTORS) + 1) + "|",
    ]
    for topic in TOPICS:
        cells = [_cell(results[topic, name]) for name in DETECTORS]
        lines.append(f"| `{topic.name.removeprefix('org.')}` | " + " | ".join(cells) + " |")
    cells = [f"**{overall(results, name):.1f}**" for name in DETECTORS]
    return "\n".join([*lines, "| all | " + " | ".join(cells) + " |"])


def _cell(figures: Figures) -> str:
    return f"{figures.rate():.1f}; {_time(figures.time(0.5))}, {_time(figures.time(0.9))}"


def _time(minutes: float) -> str:
    if minutes < 2 * HOUR:
        return f"{minutes:.0f} min"
    return f"{minutes / HOUR:.0f} h" if minutes < 3 * DAY else f"{minutes / DAY:.1f} d"


if __name__ == "__main__":
    seeds = [int(seed) for seed in sys.argv[1:]] or SEEDS
    print(f"Seeds {', '.join(map(str, seeds))}; a year of {len(TOPICS)} topics each.")
    print(table(simulate(seeds)))
