"""The simulation's table: who finds an outage when, and at the cost of how many false alarms.

`python -m tests.silence.simulation.report [SEED…]` prints it as Markdown: of the seeds on which the
constants were set, and of others, on which nothing was; or of the given seeds.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from busmon.silence.state import PAGE, together
from tests.silence.simulation import kinds
from tests.silence.simulation.detectors import (
    HOUR,
    LONGEST,
    Busmon,
    Detector,
    Fixed,
    LastWeek,
    false_alarms,
    watch,
)
from tests.silence.simulation.kinds import KindYear
from tests.silence.simulation.traffic import (
    DAY,
    MINUTES,
    TOPICS,
    Topic,
    Year,
    blind_times,
    make_year,
)

SET_ON, OTHERS = (1, 2), (21, 22)  # seeds
OUTAGES = 4  # a topic and year that did happen, and that busmon has to learn around
STARTS = 100  # moments at which one might have begun, for the time to detect it
LEARN_EVERY = 7  # days
BUSMON, NAGIOS, HOURLY, WEEKLY = DETECTORS = (
    "busmon",
    "Nagios, critical",
    "`increase(x[1h]) == 0`",
    "`< 0.1 * offset 1w`",
)
STORMS = "without those within 6 h of two others"
PAGES, LOW = "busmon, 1.4 times", "busmon, a fifth of the volume"
LOW_PART, LOW_STARTS, LOW_DAYS = 0.2, 20, 60


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

    def add(self, other: "Figures") -> None:
        """Add those of another topic."""
        self.false_alarms += other.false_alarms
        self.years += other.years
        self.times += other.times


Results = dict[tuple[Topic, str], Figures]


def simulate(
    seeds: Iterable[int], topics: Sequence[Topic] = TOPICS, every: int = LEARN_EVERY
) -> Results:
    """Return the figures of each topic and detector."""
    results = {(topic, name): Figures() for topic in topics for name in (*DETECTORS, PAGES, LOW)}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        blind = blind_times(rng)
        years = [make_year(topic, blind, rng, OUTAGES) for topic in topics]
        for year, busmon in zip(years, watch(years, blind, every), strict=True):
            starts = _starts(year, busmon.ready, rng)
            _add(results, year, busmon, starts)
            for name, figures in own_figures(year, busmon, starts, rng).items():
                results[year.topic, name].add(figures)
    return results


def own_figures(
    year: Year | KindYear, busmon: Busmon, starts: Sequence[int], rng: np.random.Generator
) -> dict[str, Figures]:
    """Return what busmon's two levels of silence did, and its watch over the volume."""
    years = (MINUTES - busmon.ready) / DAY / 365
    few = [start for start in starts if start < MINUTES - LOW_DAYS * DAY][:LOW_STARTS]
    return {
        PAGES: Figures(
            false_alarms(busmon.pages, year, busmon.ready),
            years,
            [busmon.detects(start, PAGE) for start in starts],
        ),
        LOW: Figures(
            # An outage leaves a deficit, which takes some days.
            false_alarms(busmon.low, year, busmon.ready, 3 * DAY),
            years,
            [busmon.finds_low(start, LOW_PART, rng) for start in few],
        ),
    }


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


KindResults = dict[str, dict[str, Figures]]  # by kind and level
Group = dict[str, Callable[[np.random.Generator], np.ndarray]]


def simulate_kinds(
    group: Group, seeds: Iterable[int], every: int = LEARN_EVERY, starts: int = 50
) -> KindResults:
    """Return what busmon does on traffic of other kinds, each group a bus of its own."""
    results: KindResults = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        years = kinds.make_years(group, rng)
        topics = watch(years, [], every)
        for year, busmon in zip(years, topics, strict=True):
            moments = sorted(busmon.moments(rng.integers(0, MINUTES - 1, starts).tolist()))
            figures = own_figures(year, busmon, rng.permutation(moments).tolist(), rng)
            figures[BUSMON] = Figures(
                false_alarms(busmon.alarms, year, busmon.ready),
                figures[PAGES].years,
                [busmon.detects(moment) for moment in moments],
            )
            for name, one in figures.items():
                results.setdefault(year.name, {}).setdefault(name, Figures()).add(one)
        every_alarm = {
            f"{number} {index}": 60.0 * alarm[1]
            for number, topic in enumerate(topics)
            for index, alarm in enumerate(topic.alarms)
        }
        alone = every_alarm.keys() - together(every_alarm)
        results.setdefault(STORMS, {}).setdefault(BUSMON, Figures()).add(
            Figures(len(alone), sum((MINUTES - topic.ready) / DAY / 365 for topic in topics))
        )
    return results


def kinds_table(results: KindResults) -> str:
    """Return the results as Markdown."""
    shown = (BUSMON, PAGES, LOW)
    lines = ["| traffic | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for kind, figures in results.items():
        cells = [_cell(figures[name]) if name in figures else "" for name in shown]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    cells = [f"**{_overall(results, name)}**" for name in shown]
    return "\n".join([*lines, "| all | " + " | ".join(cells) + " |"])


def _overall(results: KindResults, name: str) -> str:
    total = Figures()
    for figures in (of[name] for kind, of in results.items() if kind != STORMS):
        total.add(figures)
    return f"{total.rate():.2f}" if total.years else "no baseline"


def table(results: Results) -> str:
    """Return the results as Markdown."""
    shown = (*DETECTORS[:1], PAGES, LOW, *DETECTORS[1:])
    lines = [
        "False alarms in a topic-year; median and 90th percentile of the time to detect.",
        "",
        "| topic | " + " | ".join(shown) + " |",
        "|---" * (len(shown) + 1) + "|",
    ]
    for topic in dict.fromkeys(topic for topic, _ in results):
        cells = [_cell(results[topic, name]) for name in shown]
        lines.append(f"| `{topic.name.removeprefix('org.')}` | " + " | ".join(cells) + " |")
    cells = [f"**{overall(results, name):.1f}**" for name in shown]
    return "\n".join([*lines, "| all | " + " | ".join(cells) + " |"])


def _cell(figures: Figures) -> str:
    if not figures.times:
        return f"{figures.rate():.1f}" if figures.years else "no baseline"
    return f"{figures.rate():.1f}; {times(figures)}"


def times(figures: Figures) -> str:
    """Return the median and the 90th percentile of the times."""
    return f"{_time(figures.time(0.5))}, {_time(figures.time(0.9))}"


def _time(minutes: float) -> str:
    if minutes < 2 * HOUR:
        return f"{minutes:.0f} min"
    if minutes >= LONGEST:
        return "never"
    return f"{minutes / HOUR:.0f} h" if minutes < 3 * DAY else f"{minutes / DAY:.1f} d"


if __name__ == "__main__":
    given = [int(seed) for seed in sys.argv[1:]]
    for seeds in [given] if given else [SET_ON, OTHERS]:
        print(f"Seeds {', '.join(map(str, seeds))}; a year of {len(TOPICS)} topics each.")
        print(table(simulate(seeds)))
        for title, group in kinds.GROUPS.items():
            print(f"\n{title}\n\n{kinds_table(simulate_kinds(group, seeds))}")
