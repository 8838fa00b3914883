"""The first eight weeks of busmon, with what it learned from an archive and without.

`python -m tests.silence.simulation.first_weeks [SEED…]` prints the table as Markdown. Each variant
begins on the same days of the same years, and the same outages are asked of each.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from busmon.ledger.archive import Span as Hours
from busmon.ledger.batch import Series
from busmon.ledger.ledger import Ledger
from busmon.ledger.values import Interval
from busmon.message import Topic as BusTopic
from busmon.silence.histories import read
from busmon.silence.rates import WEEK_HOURS, Hour
from busmon.silence.reception import blind_by_hour
from tests.ledger.past import past
from tests.silence.simulation.detectors import (
    FIRST_HOUR,
    HOUR,
    Busmon,
    Past,
    false_alarms,
    run,
)
from tests.silence.simulation.report import LEARN_EVERY, LOW_PART, OTHERS, OUTAGES, Figures, times
from tests.silence.simulation.traffic import (
    DAY,
    START,
    TOPICS,
    Span,
    Topic,
    Year,
    blind_times,
    make_year,
)

BUS = "fedora"
WEEKS = 8
BEGINS = (70, 133, 203)  # days, Mondays: before Christmas, a mass rebuild, and Easter
STARTS, LOW_STARTS = 20, 5  # of outages in each half of the weeks


@dataclass(frozen=True, slots=True)
class Variant:
    """What busmon knows on its first day: so many weeks of the archive, or of its own."""

    name: str
    archived: int = 0
    own: int = 0


NOTHING, _, ARCHIVE, _ = VARIANTS = (
    Variant("nothing"),
    Variant("4 weeks of the archive", archived=4),
    Variant("8 weeks of the archive", archived=8),
    Variant("8 weeks of its own", own=8),
)
GROUPS: Mapping[str, Sequence[Topic]] = {
    "Copr, Koji": (TOPICS[1], TOPICS[3]),
    "dist-git": (TOPICS[5], TOPICS[9]),
    "Anitya, the-new-hotness": TOPICS[10:12],
    "OpenScanHub, Log Detective": (TOPICS[12], TOPICS[14]),
}
SOME_TOPICS = tuple(chain.from_iterable(GROUPS.values()))
EARLY, LATE, LOW = (
    "outage in weeks 1 to 4",
    "outage in weeks 5 to 8",
    "a fifth of the volume, weeks 1 to 8",
)


@dataclass(slots=True)
class Found:
    """What one variant did on the topics of one group; times in minutes."""

    warnings: Figures = field(default_factory=Figures)
    pages: Figures = field(default_factory=Figures)
    times: dict[str, Figures] = field(
        default_factory=lambda: {name: Figures() for name in (EARLY, LATE, LOW)}
    )


Results = dict[tuple[str, Variant], Found]


def simulate(
    seeds: Iterable[int],
    topics: Sequence[Topic] = SOME_TOPICS,
    begins: Sequence[int] = BEGINS,
    variants: Sequence[Variant] = VARIANTS,
) -> Results:
    """Return what each variant did on each group of topics."""
    groups = {topic: name for name, members in GROUPS.items() for topic in members}
    results: Results = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        blind = blind_times(rng)
        years = [make_year(topic, blind, rng, OUTAGES) for topic in topics]
        for begin in begins:
            starts = [_starts(year, begin * DAY, rng) for year in years]
            for variant in variants:
                watched = _watch(years, blind, begin * 24, variant)
                for year, of_year, busmon in zip(years, starts, watched, strict=True):
                    found = results.setdefault((groups[year.topic], variant), Found())
                    _add(found, year, busmon, of_year, begin * DAY)
    return results


def _watch(
    years: Sequence[Year], blind: Sequence[Span], begin: int, variant: Variant
) -> list[Busmon]:
    """Let busmon start at an hour, and watch for `WEEKS`."""
    first = begin - variant.own * WEEK_HOURS
    hours = range(first, begin + WEEKS * WEEK_HOURS)
    since = first * HOUR
    known_blind = [(max(begun, since), until) for begun, until in blind if until > since]
    with closing(Ledger(":memory:")) as ledger:
        for year in years:
            _fill(ledger, year, first, variant.archived)
        pasts = _Pasts(ledger, (year.topic.name for year in years), known_blind, first)
        topics = [
            Busmon(year, known_blind, LEARN_EVERY, first, pasts.of(year.topic.name))
            for year in years
        ]
        return run(topics, hours)


def _fill(ledger: Ledger, year: Year, begin: int, weeks: int) -> None:
    """Write what busmon counts from an hour on, and what it learned of the weeks before."""
    name, since = year.topic.name, begin - weeks * WEEK_HOURS
    own = dict(enumerate(_hourly(year.received)[begin:], FIRST_HOUR + begin))
    past(ledger, Series(BUS, name, "handled", ""), own, 3600.0 * max(own))
    if weeks:
        sums = dict(enumerate(_hourly(year.sent)[since:begin], FIRST_HOUR + since))
        span = Hours(FIRST_HOUR + since, FIRST_HOUR + begin)
        with ledger.write() as tables:
            tables.archive_sums.add_before(BUS, name, span, sums)


def _hourly(messages: np.ndarray) -> list[int]:
    return [int(number) for number in messages.reshape(-1, HOUR).sum(1)]


class _Pasts:
    """What the service would read of all topics from its ledger, at any hour."""

    def __init__(
        self, ledger: Ledger, names: Iterable[str], blind: Sequence[Span], begin: int
    ) -> None:
        self._ledger, self._hour = ledger, -1
        self._topics = [BusTopic(BUS, name) for name in names]
        unix = [Interval(START + 60.0 * since, START + 60.0 * until) for since, until in blind]
        self._blind = blind_by_hour(unix, START + 3600.0 * begin)

    def of(self, name: str) -> Past:
        """Return the hours of a topic before one."""

        def past_of_topic(hour: int) -> list[Hour]:
            now = START + 3600.0 * hour
            if hour != self._hour:
                last = dict.fromkeys(self._topics, now)
                self._counts = read(self._ledger, last, now, {BUS: self._blind})
                self._hour = hour
            return list(self._counts[BusTopic(BUS, name)].until(now, self._blind))[:-1]

        return past_of_topic


def _starts(year: Year, begin: int, rng: np.random.Generator) -> dict[str, list[int]]:
    """Return the minutes at which outages begin, apart from those that happen."""
    half = WEEKS // 2 * 7 * DAY
    found = {}
    for name, since in ((EARLY, begin + 3 * HOUR), (LATE, begin + half)):
        moments = rng.integers(since, begin + half * (1 if name == EARLY else 2) - HOUR, STARTS)
        found[name] = [
            int(moment)
            for moment in sorted(moments)
            if not any(first - HOUR <= moment <= last + HOUR for first, last in year.outages)
        ]
    return found


def _add(
    found: Found, year: Year, busmon: Busmon, starts: Mapping[str, Sequence[int]], begin: int
) -> None:
    years = WEEKS * 7 / 365
    for figures, alarms in ((found.warnings, busmon.alarms), (found.pages, busmon.pages)):
        figures.add(Figures(false_alarms(alarms, year, begin), years))
    rng = np.random.default_rng(begin)
    for name, moments in starts.items():
        found.times[name].times += [busmon.detects(moment) for moment in moments]
        few = moments[:: STARTS // LOW_STARTS]
        found.times[LOW].times += [busmon.finds_low(moment, LOW_PART, rng) for moment in few]


def table(results: Results) -> str:
    """Return the results as Markdown."""
    columns = (EARLY, LATE, LOW, "false warnings, pages in a topic-year")
    lines = [
        "Median and 90th percentile of the time to warn.",
        "",
        "| topics | busmon knows on its first day | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for (group, variant), found in sorted(results.items(), key=_order):
        cells = [times(found.times[name]) for name in (EARLY, LATE, LOW)]
        rates = f"{found.warnings.rate():.1f}, {found.pages.rate():.1f}"
        lines.append(f"| {group} | {variant.name} | {' | '.join(cells)} | {rates} |")
    return "\n".join(lines)


def _order(row: tuple[tuple[str, Variant], Found]) -> tuple[int, int]:
    (group, variant), _ = row
    return list(GROUPS).index(group), VARIANTS.index(variant)


if __name__ == "__main__":
    given = [int(seed) for seed in sys.argv[1:]] or list(OTHERS)
    print(f"Seeds {', '.join(map(str, given))}; {len(BEGINS)} first days in the year of each.")
    print(table(simulate(given)))
