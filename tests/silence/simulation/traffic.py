"""A year of made-up traffic as on Fedora's bus, by the minute, and the outages in it.

Messages come in clumps (a project's builds, a push with its events), on a rate that
follows the day, the week, holidays and mass rebuilds, that grows, and that is never as
smooth as that: each day and hour has a factor of its own.
"""

from dataclasses import dataclass, field

import numpy as np

DAY = 1440  # minutes
DAYS = 365
MINUTES = DAYS * DAY
START = 1_756_684_800  # Monday, 1 September 2025, 0:00 UTC
CHRISTMAS = range(112, 125)  # days from the start: 22 December to 3 January
EASTER = range(214, 218)  # Good Friday to Easter Monday
DAYS_OFF = (61, 87, 241, 266)  # All Saints, Thanksgiving, Labour Day, Whit Monday
REBUILDS = ((137, 5.0, 40.0), (325, 3.5, 15.0))  # day, days, times the usual rate


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's habits. Nagios's critical threshold is in minutes."""

    name: str
    a_day: float  # messages, on a working day
    clump: float  # messages that come together, on average
    spread: float  # minutes over which they come
    nights: float  # rate in the night by that at noon
    weekends: float  # rate at weekends by that of working days
    holidays: float  # rate at Christmas by that of other times
    growth: float  # over the year
    nagios: int
    rebuilt: bool = False  # takes part in mass rebuilds

    @property
    def in_nagios(self) -> bool:
        """Whether Fedora's Nagios has a threshold for it; else there is one made up here."""
        return not self.name.startswith((FEDORA + "openscanhub", FEDORA + "logdetective"))


COPR, KOJI, GIT, RARE = DAY, DAY, 7 * DAY, 21 * DAY
# Nagios knows nothing of OpenScanHub and Log Detective: as patient as with git and Bodhi.
OTHER = 7 * DAY
FEDORA = "org.fedoraproject.prod."
TOPICS = (
    Topic(FEDORA + "copr.build.start", 22000, 12, 8, 0.5, 0.6, 0.5, 1.4, COPR),
    Topic(FEDORA + "copr.build.end", 22000, 6, 15, 0.5, 0.6, 0.5, 1.4, COPR),
    Topic(FEDORA + "buildsys.task.state.change", 50000, 15, 10, 0.5, 0.5, 0.4, 1.2, KOJI, True),
    Topic(FEDORA + "buildsys.build.state.change", 15000, 4, 5, 0.4, 0.5, 0.4, 1.2, KOJI, True),
    Topic(FEDORA + "buildsys.tag", 20000, 8, 5, 0.4, 0.5, 0.4, 1.2, KOJI, True),
    Topic(FEDORA + "pagure.pull-request.new", 150, 2, 20, 0.15, 0.3, 0.25, 1.1, GIT),
    Topic(FEDORA + "pagure.pull-request.updated", 200, 3, 10, 0.15, 0.3, 0.25, 1.1, GIT),
    Topic(FEDORA + "pagure.pull-request.rebased", 60, 2, 20, 0.15, 0.3, 0.25, 1.1, GIT),
    Topic(FEDORA + "pagure.pull-request.comment.added", 400, 3, 15, 0.15, 0.3, 0.25, 1.1, GIT),
    Topic(FEDORA + "pagure.git.receive", 1200, 4, 10, 0.2, 0.35, 0.3, 1.1, GIT),
    Topic(FEDORA + "hotness.update.bug.file", 8, 1.5, 20, 0.6, 0.6, 0.5, 1.0, RARE),
    Topic(
        "org.release-monitoring.prod.anitya.project.version.update.v2",
        15, 3, 10, 0.6, 0.6, 0.5, 1.3, RARE,
    ),
    Topic(FEDORA + "openscanhub.task.started", 12, 2, 10, 0.3, 0.4, 0.3, 1.5, OTHER),
    Topic(FEDORA + "openscanhub.task.finished", 12, 1.5, 60, 0.3, 0.4, 0.3, 1.5, OTHER),
    Topic(FEDORA + "logdetective.analysis", 6, 1.5, 10, 0.5, 0.5, 0.4, 2.0, OTHER),
)  # fmt: skip

Span = tuple[int, int]  # minutes from the start


@dataclass(frozen=True, slots=True)
class Year:
    """What came of one topic, minute by minute, and what is true of it."""

    topic: Topic
    sent: np.ndarray  # by the publisher, but for its outages
    received: np.ndarray  # by busmon, which was blind at times
    outages: list[Span] = field(default_factory=list)

    @property
    def nagios(self) -> int:
        """The threshold that ships, in minutes; 0: none."""
        return self.topic.nagios


def blind_times(rng: np.random.Generator) -> list[Span]:
    """Restarts about weekly, of minutes; and some disconnections of hours."""
    spans = [
        (int(start), int(start) + int(rng.integers(1, 5)))
        for start in rng.integers(0, MINUTES - DAY, 52)
    ]
    spans += [
        (int(start), int(start) + int(rng.integers(60, 720)))
        for start in rng.integers(0, MINUTES - DAY, 8)
    ]
    merged: list[Span] = []
    for since, until in sorted(spans):
        if merged and since <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(until, merged[-1][1])
        else:
            merged.append((since, until))
    return merged


def make_year(topic: Topic, blind: list[Span], rng: np.random.Generator, outages: int) -> Year:
    """Return a year; outages last from a third to all of Nagios's critical threshold."""
    sent = arrivals(topic, rng)
    spans = []
    # One in each part of the year, so that there is time to learn between them.
    part = (MINUTES - 60 * DAY) // max(outages, 1)
    for number in range(outages):
        length = int(topic.nagios * rng.uniform(1 / 3, 1))
        since = 60 * DAY + number * part + int(rng.integers(0, max(1, part - length)))
        sent[since : since + length] = 0
        spans.append((since, since + length))
    received = sent.copy()
    for since, until in blind:
        kept = received[since:until].sum() if until - since < 60 else 0  # the queue expires
        received[since:until] = 0
        received[until] += kept
    return Year(topic, sent, received, spans)


def arrivals(topic: Topic, rng: np.random.Generator) -> np.ndarray:
    """Return the messages of each minute of a year, without outages."""
    rate = _rate(topic, rng) / topic.clump
    clumps = rng.poisson(rate)
    starts = np.repeat(np.arange(MINUTES), clumps)
    sizes = rng.geometric(1 / topic.clump, len(starts))
    minutes = np.repeat(starts, sizes)
    minutes = minutes + rng.exponential(topic.spread, len(minutes)).astype(np.int64)
    return np.bincount(minutes[minutes < MINUTES], minlength=MINUTES)


def _rate(topic: Topic, rng: np.random.Generator) -> np.ndarray:
    """Messages a minute."""
    minute = np.arange(MINUTES)
    hour = minute % DAY / 60
    # Europe at work from 7 to 16 UTC, America to 21: most at 14.
    shape = topic.nights + (1 - topic.nights) * np.exp(-(((hour - 13.5) / 4.5) ** 2))
    by_day = np.where(np.arange(DAYS) % 7 >= 5, topic.weekends, 1.0)
    by_day[CHRISTMAS.start : CHRISTMAS.stop] *= topic.holidays
    by_day[EASTER.start : EASTER.stop] *= (1 + topic.holidays) / 2
    for day in DAYS_OFF:
        by_day[day] *= (1 + topic.holidays) / 2
    by_day *= topic.growth ** (np.arange(DAYS) / DAYS)
    by_day *= rng.lognormal(0, 0.25, DAYS)
    by_hour = rng.lognormal(0, 0.3, DAYS * 24)
    rate: np.ndarray = topic.a_day / DAY * shape / shape[:DAY].mean()
    rate = rate * np.repeat(by_day, DAY) * np.repeat(by_hour, 60)
    if topic.rebuilt:
        for day, days, times in REBUILDS:
            rate[day * DAY : int((day + days) * DAY)] *= times
    return rate
