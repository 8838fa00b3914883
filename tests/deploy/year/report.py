"""A year of pages: how many wake somebody up, how many of them for nothing, and what nobody hears.

`python -m tests.deploy.year.report [SEED…]` prints the table as Markdown: of the seed with which
the rules were set, and of two others; or of the given seeds.
"""

import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import yaml

from tests.deploy.alerting import CONFIG
from tests.deploy.year.alertmanager import Alert, Alertmanager, Notification, pages
from tests.deploy.year.causes import Cause, Kind, calendar
from tests.deploy.year.evaluation import firing, wrong
from tests.deploy.year.plant import PUBLISHERS
from tests.deploy.year.world import World, make_world

SET_ON, OTHERS = (1,), (21, 22)  # seeds
AFTER = 60  # minutes after its end in which a cause explains a page
FOUND_WITHIN = 60  # minutes: an outage that lasts longer has to page
LEARNED = 45  # minutes: if the limit of its topics is higher, an outage can be found later


@dataclass(frozen=True)
class Page:
    """A page, and the cause that it is right about; None if there is none."""

    notification: Notification
    cause: Cause | None
    again: bool = False  # the cause had paged before

    @property
    def useful(self) -> bool:
        """Whether a person could act on it."""
        return self.cause is not None and self.cause.kind.actionable and not self.again

    @property
    def name(self) -> str:
        return self.notification.group["alertname"]


@dataclass
class Found:
    """What paged in a year, and what should have."""

    causes: list[Cause]
    pages: list[Page] = field(default_factory=list)
    missed: list[Cause] = field(default_factory=list)

    def minutes_to_page(self, kind: Kind) -> list[float]:
        return [
            page.notification.at - page.cause.begin
            for page in self.pages
            if page.cause and page.cause.kind == kind and not page.again
        ]


def judge(alerts: Sequence[Alert], causes: Sequence[Cause], world: World) -> Found:
    """Return which pages these alerts give, each with its cause."""
    config = yaml.safe_load((CONFIG / "alertmanager/alertmanager.yml").read_text())
    found, paged = Found(list(causes)), set[Cause]()
    for one in pages(Alertmanager(config).notifications(alerts)):
        if one.receiver == "pager" and one.status == "firing":
            explained = _explain(one, causes)
            # Of two causes at the same time, the one of which nobody knows yet.
            new = [cause for cause in explained if cause not in paged]
            cause = next(iter(new or explained), None)
            found.pages.append(Page(one, cause, again=bool(explained) and not new))
            paged |= {cause} if cause else set()
    found.missed = [cause for cause in causes if _has_to_page(cause, world) and cause not in paged]
    return found


def _explain(page: Notification, causes: Iterable[Cause]) -> list[Cause]:
    """Return the causes that the page can be about, those first that began last."""
    name = page.group["alertname"]
    alike = [
        cause
        for cause in causes
        if name in cause.kind.pages.split() and cause.begin <= page.at <= cause.end + AFTER
    ]
    return sorted(alike, key=lambda cause: -cause.begin)


def _has_to_page(cause: Cause, world: World) -> bool:
    if not cause.kind.must or cause.minutes <= FOUND_WITHIN:
        return False
    part = PUBLISHERS.get(cause.kind.name)
    if part is None:
        return True
    limits = [
        topic.limit(cause.begin)
        for topic in world.topics
        if part in topic.topic and ("copr" in topic.topic or "buildsys" in topic.topic)
    ]
    return min(limits) < LEARNED


def year(seed: int) -> Found:
    """Return what pages in the year of a seed."""
    rng = np.random.default_rng(seed)
    world = make_world(rng, calendar(rng))
    with tempfile.TemporaryDirectory() as folder:
        alerts = firing(world.series, wrong(world.causes, world.topics), Path(folder) / "rules")
    return judge(alerts, world.causes, world)


def table(years: Sequence[Found]) -> str:
    """Return the pages of some years by their causes, as Markdown."""
    lines = [
        "| cause | a year | who can act | pages a year | median minutes to the page |",
        "|---|---:|---|---:|---:|",
    ]
    all_pages = [page for found in years for page in found.pages]
    kinds = {cause.kind: None for found in years for cause in found.causes}
    for kind in sorted(kinds, key=lambda kind: (not kind.actionable, kind.name)):
        own = [page for page in all_pages if page.cause and page.cause.kind == kind]
        if own or kind.must:
            times = [time for found in years for time in found.minutes_to_page(kind)]
            middle = f"{median(times):.0f}" if times else ""
            number = len(own) / len(years)
            lines.append(f"| {kind.name} | {kind.a_year} | {kind.who} | {number:.3g} | {middle} |")
    without = [page for page in all_pages if page.cause is None]
    lines.append(f"| no cause | | | {len(without) / len(years):.3g} | |")
    return "\n".join(lines)


def summary(found: Found) -> str:
    """Return the figures of a year, and each page on which nobody could act."""
    useful = sum(page.useful for page in found.pages)
    lines = [
        f"{len(found.pages)} pages, {useful} of them with a cause on which a person could act, "
        f"{len(found.pages) - useful} without; {len(found.missed)} outages missed.",
    ]
    for page in found.pages:
        if not page.useful:
            cause = "no cause" if page.cause is None else page.cause.kind.name
            again = ", again" if page.again else ""
            labels = dict(page.notification.group)
            lines.append(f"- {when(page.notification.at)} {page.name} {labels}: {cause}{again}")
    lines += [
        f"- missed: {cause.kind.name}, {when(cause.begin)} for {cause.minutes:.0f} minutes"
        for cause in found.missed
    ]
    return "\n".join(lines)


def when(minute: float) -> str:
    return f"day {minute // 1440:.0f} {minute % 1440 // 60:02.0f}:{minute % 60:02.0f}"


if __name__ == "__main__":
    given = [int(seed) for seed in sys.argv[1:]]
    with ProcessPoolExecutor(2) as pool:
        for seeds in [given] if given else [SET_ON, OTHERS]:
            years = list(pool.map(year, seeds))
            print(f"Seeds {', '.join(map(str, seeds))}, a year each.\n\n{table(years)}\n")
            for seed, found in zip(seeds, years, strict=True):
                print(f"Seed {seed}: {summary(found)}\n")
