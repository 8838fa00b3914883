"""The listener balanced by numbers, beside simulated days of which everything is known."""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from busmon.audit.counting import BACK, TOLERANCE, YOUNG, Poll, Span, last_break, missing

WINDOW, GRACE, INTERVAL = 300, 120, 15
HOUR, DAY = 3600, 24 * 3600
NOISE = 0.5  # seconds by which the listener gets a message earlier or later than busmon
OLD = 10**6  # messages that the listener had before


@dataclass
class Bus:
    """Messages of a bus with bursts, a listener that lags, and what busmon knows of both."""

    seed: int
    rate: float  # messages per second, on average
    length: float = DAY
    skew: float | None = None  # the same for all messages; None: by chance
    lost: dict[float, int] = field(default_factory=dict)  # by when: so many in a row
    twice: dict[float, int] = field(default_factory=dict)  # given to the listener again
    stalls: bool = True

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.seen = sorted(self._sent())
        got = self._through_listener(self._delivered())
        self.polls = [
            Poll(at, OLD + bisect_right(got, at + self.chance.uniform(0, 0.2)), 0)
            for at in range(0, int(self.length), INTERVAL)
        ]

    def _sent(self) -> Iterator[float]:
        now = 0.0
        while now < self.length:
            # Some minutes as usual, some quiet, some with a burst of up to 20 a second.
            rate = self.chance.choice([self.rate, self.rate, self.rate / 5, min(20, 5 * self.rate)])
            until = now + self.chance.uniform(30, 600)
            while (now := now + self.chance.expovariate(rate)) < until:
                yield now

    def _delivered(self) -> list[float]:
        gone: set[int] = set()
        again: list[float] = []
        for at, number in self.lost.items():
            first = bisect_left(self.seen, at)
            gone |= set(range(first, first + number))
        for at, number in self.twice.items():
            first = bisect_left(self.seen, at)
            again += self.seen[first : first + number]
        kept = [at for n, at in enumerate(self.seen) if n not in gone]
        return sorted(at + self._skew() for at in kept + again)

    def _skew(self) -> float:
        return self.chance.uniform(-NOISE, NOISE) if self.skew is None else self.skew

    def _through_listener(self, delivered: Iterable[float]) -> list[float]:
        """One after the other, each for some milliseconds, with pauses of up to a minute."""
        free, pause, got = 0.0, self.chance.uniform(0, HOUR), []
        for at in delivered:
            if self.stalls and at > pause:
                free = max(free, pause + self.chance.uniform(1, 60))
                pause = at + self.chance.expovariate(1 / 1200)
            free = max(free, at)
            got.append(free)
            free += self.chance.uniform(0, 0.04)
        return sorted(got)

    def told(self) -> dict[float, int | None]:
        """What is told of each window, by its start."""
        found: dict[float, int | None] = {}
        for start in range(0, int(self.length) - WINDOW - GRACE, WINDOW):
            spans = [
                Span(first, first + WINDOW + GRACE)
                for first in range(max(0, start - (BACK - 1) * WINDOW), start + 1, WINDOW)
            ]
            begin, end = spans[0].start, spans[-1].told
            seen = self.seen[
                bisect_left(self.seen, begin - YOUNG) : bisect_right(self.seen, end + 1)
            ]
            polls = self.polls[-int(-begin // INTERVAL) : int(end // INTERVAL) + 1]
            found[start] = missing(seen, polls, spans)
        return found

    def found(self) -> dict[float, int]:
        return {start: number for start, number in self.told().items() if number}


@pytest.mark.parametrize("rate", [0.1, 0.3, 1, 2, 5])
@pytest.mark.parametrize("skew", [None, -NOISE, NOISE])
def test_in_days_without_a_loss_nothing_is_missing(rate: float, skew: float | None):
    for seed in range(4 if rate < 1 else 1):
        bus = Bus(seed, rate, skew=skew)
        told = list(bus.told().values())
        assert told[:3] == [None] * 3
        assert set(told[3:]) == {0}


@pytest.mark.parametrize("skew", [None, -NOISE, NOISE])
def test_in_hours_of_many_messages_nothing_is_missing(skew: float | None):
    assert Bus(5, 20, length=6 * HOUR, skew=skew).found() == {}


@pytest.mark.parametrize(
    ("rate", "lost"), [(0.1, 8), (0.1, 50), (0.3, 8), (1, 15), (5, 30), (20, 60), (20, 400)]
)
def test_a_loss_is_found_soon_and_not_more_than_it_was(rate: float, lost: int):
    for seed in range(6):
        when = random.Random(seed).uniform(2 * HOUR, 3 * HOUR)
        found = Bus(seed, rate, length=4 * HOUR, lost={when: lost}).found()
        assert 0 < sum(found.values()) <= lost
        took = lost / rate * 5 + 6 * WINDOW  # no answer tells of it while it goes on
        assert all(when - WINDOW < start < when + took for start in found)


def test_of_losses_of_five_messages_most_are_found_and_none_twice():
    found = []
    for seed in range(30):
        lost = {random.Random(seed).uniform(2 * HOUR, 2.5 * HOUR): 5}
        rate = 0.1 if seed % 2 else 0.3
        found.append(sum(Bus(seed, rate, length=3.5 * HOUR, lost=lost).found().values()))
    assert max(found) <= 5
    assert sum(number > 0 for number in found) >= 25


def test_losses_one_after_the_other_are_each_counted_once():
    lost = {HOUR * (2 + 1.3 * n): 10 + n for n in range(12)}
    found = Bus(7, 0.3, lost=lost).found()
    assert len(lost) * (TOLERANCE + 1) <= sum(found.values()) <= sum(lost.values())
    for at, number in lost.items():
        assert 0 < sum(n for start, n in found.items() if 0 <= start - at + WINDOW < HOUR) <= number


def test_messages_that_the_listener_gets_twice_are_no_gap_and_hide_a_loss_for_an_hour_only():
    assert Bus(1, 0.3, twice={5 * HOUR: 3, 7 * HOUR: 40}).found() == {}
    bus = Bus(1, 0.3, twice={5 * HOUR: 40}, lost={5.5 * HOUR: 20, 8 * HOUR: 20})
    assert all(start >= 8 * HOUR - WINDOW for start in bus.found())
    assert 0 < sum(bus.found().values()) <= 20


# A bus of one message a second, without any noise


def steady(since: float, until: float) -> list[float]:
    return [n + 0.25 for n in range(int(since), int(until))]


SPANS = [Span(n * WINDOW, (n + 1) * WINDOW + GRACE) for n in range(6)]
SEEN = steady(-YOUNG, 2000)


def polls(lost: int = 0, at: float = 1000, **changes: int) -> list[Poll]:
    times = range(0, 2000, INTERVAL)
    return [Poll(t, OLD + t - (lost if t > at else 0), 0)._replace(**changes) for t in times]


def test_without_four_windows_since_the_last_break_nothing_is_known():
    assert missing(SEEN, polls(), SPANS[:3]) is None
    assert missing(SEEN, polls(), SPANS[:4]) == 0
    restarted = [p._replace(restarts=p.at > 320) for p in polls()]
    assert last_break(SEEN, restarted) == 330
    assert missing(SEEN, restarted, SPANS[:5]) is None
    assert missing(SEEN, restarted, SPANS) == 0
    assert missing(SEEN, [], SPANS) is None


@pytest.mark.parametrize(
    ("received", "broken"),
    [
        ((1000, 1001), False),
        ((1000, 999), True),
        ((100, 101), True),  # in 300 s there were 300 messages: it may well have begun anew
        ((300, 301), False),
        ((0, 0), False),
    ],
)
def test_a_listener_that_may_have_begun_anew_is_not_trusted(
    received: tuple[int, int], broken: bool
):
    answers = [Poll(at, number, 0) for at, number in zip((600, 615), received, strict=True)]
    assert (last_break(SEEN, answers) == 615) is broken


@pytest.mark.parametrize(("lost", "told"), [(0, 0), (3, 0), (4, 3), (12, 11)])
def test_a_loss_has_to_stand_out_and_to_last(lost: int, told: int):
    """A second of doubt is worth a message here, at the beginning as well as now."""
    answers = polls(lost, at=1000)
    found = [missing(SEEN, answers, SPANS[: n + 1]) for n in range(6)]
    assert [number or 0 for number in found] == [0, 0, 0, 0, 0, told]


def test_a_listener_that_stands_still_has_lost_nothing_yet():
    still = [p._replace(received=min(p.received, OLD + 900)) for p in polls()]
    assert missing(SEEN, still, SPANS) == 0
