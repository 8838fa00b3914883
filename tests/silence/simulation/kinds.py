"""Traffic of other kinds than that of `traffic`, by the minute: a year each, without an outage.

Those of `STEADY` do not change their ways, so whatever busmon says of them is a false alarm. Those
of `CHANGING` do. Each group is a bus.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tests.silence.simulation.traffic import DAY, DAYS, MINUTES, Span

Rng = np.random.Generator
Rates = np.ndarray  # messages a minute
HOUR = 60


@dataclass(frozen=True, slots=True)
class KindYear:
    """What came of one topic, minute by minute."""

    name: str
    received: np.ndarray
    nagios: int = 0  # no threshold ships for it
    outages: list[Span] = field(default_factory=list)


def make_years(kinds: Mapping[str, Callable[[Rng], np.ndarray]], rng: Rng) -> list[KindYear]:
    """Return a year of each kind."""
    return [KindYear(name, make(rng)) for name, make in kinds.items()]


def level(a_day: float, nights: float = 0.5, weekends: float = 0.6) -> Rates:
    """Return a rate that follows the day and the week."""
    hour = np.arange(MINUTES) % DAY / 60
    shape = nights + (1 - nights) * np.exp(-(((hour - 13.5) / 4.5) ** 2))
    by_day = np.where(np.arange(DAYS) % 7 >= 5, weekends, 1.0)
    rate: Rates = a_day / DAY * shape / shape[:DAY].mean() * np.repeat(by_day, DAY)
    return rate


def cox(rate: Rates) -> Callable[[Rng], np.ndarray]:
    """Messages one by one, with a rate that wanders from day to day and hour to hour."""

    def make(rng: Rng) -> np.ndarray:
        by_day = np.repeat(rng.lognormal(0, 0.3, DAYS), DAY)
        return rng.poisson(rate * by_day * np.repeat(rng.lognormal(0, 0.3, DAYS * 24), HOUR))

    return make


def hawkes(rate: Rates, children: float, minutes: float) -> Callable[[Rng], np.ndarray]:
    """Each message causes others, on average so many, after so many minutes."""

    def make(rng: Rng) -> np.ndarray:
        born = np.repeat(np.arange(MINUTES), rng.poisson(rate * (1 - children)))
        counts = np.bincount(born, minlength=MINUTES)
        while len(born):
            born = np.repeat(born, rng.poisson(children, len(born)))
            born = born + rng.exponential(minutes, len(born)).astype(np.int64)
            born = born[born < MINUTES]
            counts += np.bincount(born, minlength=MINUTES)
        return counts

    return make


def cron(every: int, messages: int = 1, jitter: float = 1.0) -> Callable[[Rng], np.ndarray]:
    """So many messages at fixed times, each some minutes late."""

    def make(rng: Rng) -> np.ndarray:
        due = np.repeat(np.arange(every // 2, MINUTES, every), messages)
        late = due + rng.exponential(jitter, len(due)).astype(np.int64)
        return np.bincount(late[late < MINUTES], minlength=MINUTES)

    return make


def office(a_day: float) -> Callable[[Rng], np.ndarray]:
    """Only on working days from 7 to 17."""
    hour, day = np.arange(MINUTES) % DAY // 60, np.arange(MINUTES) // DAY
    open_ = (hour >= 7) & (hour < 17) & (day % 7 < 5)
    return cox(open_ * a_day / 600)


def batch(weekdays: tuple[int, ...], messages: float) -> Callable[[Rng], np.ndarray]:
    """Some messages on some days of the week, at three o'clock or soon after."""

    def make(rng: Rng) -> np.ndarray:
        counts = np.zeros(MINUTES, dtype=np.int64)
        for day in range(DAYS - 1):
            if day % 7 in weekdays:
                late = rng.exponential(40, 1 + rng.poisson(messages - 1)).astype(np.int64)
                np.add.at(counts, day * DAY + 3 * HOUR + np.minimum(late, DAY - 1), 1)
        return counts

    return make


def campaigns(on: int, off: int, a_day: float) -> Callable[[Rng], np.ndarray]:
    """So many days on, so many off."""
    is_on = np.arange(MINUTES) // DAY % (on + off) < on
    return cox(is_on * level(a_day, weekends=1.0))


def changed(rate: Rates, factor: float, since: int, days: int) -> Rates:
    """Return a rate that is multiplied for some days."""
    rate = rate.copy()
    rate[since * DAY : (since + days) * DAY] *= factor
    return rate


def grown(rate: Rates, factor: float) -> Rates:
    """Return a rate that is multiplied in the course of the year."""
    changing: Rates = rate * factor ** (np.arange(MINUTES) / MINUTES)
    return changing


def dipped(rate: Rates) -> Rates:
    """Return a rate with three days on which the whole bus is slow."""
    for day in (150, 220, 300):
        rate = changed(rate, 0.2, day, 1)
    return rate


STEADY = {
    "Cox, 5,000 a day": cox(level(5000)),
    "Cox, 200 a day": cox(level(200)),
    "Cox, 24 a day": cox(level(24)),
    "one a day, at random": cox(level(1, 1, 1)),
    "four a week, at random": cox(level(4 / 7, 1, 1)),
    "one a week, at random": cox(level(1 / 7, 1, 1)),
    "Hawkes, 3,000 a day": hawkes(level(3000), 0.8, 20),
    "Hawkes, 100 a day": hawkes(level(100), 0.7, 60),
    "Hawkes, 10 a day": hawkes(level(10), 0.5, 120),
    "cron, every 15 minutes": cron(15),
    "cron, every hour": cron(HOUR, 3),
    "cron, every day": cron(DAY, 1, 20),
    "office hours, 400 a day": office(400),
    "office hours, 30 a day": office(30),
    "weekly batch of 50": batch((2,), 50),
    "Monday and Thursday": batch((0, 3), 1),
    "campaigns, 5 days on, 9 off": campaigns(5, 9, 100),
}
CHANGING = {
    "freeze of 2 weeks": cox(changed(level(300), 0.1, 200, 14)),
    "growing, 4 times": cox(grown(level(200), 4.0)),
    "growing bursts, 6 times": hawkes(grown(level(60), 6.0), 0.7, 60),
    "dying, to a quarter": cox(grown(level(300), 0.25)),
    "half of it, for good": cox(changed(level(300), 0.5, 180, DAYS)),
}
DIPS = {
    f"bus-wide dip, {a_day:,} a day": cox(dipped(level(a_day)))
    for a_day in (3000, 1000, 400, 150, 60, 20)
}
GROUPS = {
    "Topics that do not change their ways:": STEADY,
    "Topics that change:": CHANGING,
    "A bus that is slow as a whole on three days:": DIPS,
}
