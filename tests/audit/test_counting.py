"""The comparison by numbers, on simulated days of which everything is known."""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from busmon.audit.counting import (
    IGNORED_MESSAGES,
    MAX_WINDOWS,
    YOUNG_SECONDS,
    Span,
    count_missing,
    last_restart,
)
from busmon.ledger.listener import Poll

WINDOW, GRACE, INTERVAL = 300, 120, 15
HOUR, DAY = 3600, 24 * 3600
NOISE = 0.5  # seconds: the listener receives a message that much earlier or later than busmon
OLD = 10**6  # messages that the listener had received before


@dataclass
class Bus:
    """A bus with bursts, a listener that lags, and what busmon knows of both."""

    seed: int
    rate: float  # messages per second, on average
    length: float = DAY
    skew: float | None = None  # seconds, the same for all messages; None: random
    lost: dict[float, int] = field(default_factory=dict)  # at this time so many in a row
    twice: dict[float, int] = field(default_factory=dict)  # delivered to the listener again
    stalls: bool = True

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.arrivals = sorted(self._sent())
        received = self._through_listener(self._delivered())
        self.polls = [
            Poll(at, OLD + bisect_right(received, at + self.random.uniform(0, 0.2)), 0)
            for at in range(0, int(self.length), INTERVAL)
        ]

    def _sent(self) -> Iterator[float]:
        now = 0.0
        while now < self.length:
            # Some minutes as usual, some quiet, some with a burst of up to 20 a second.
            rate = self.random.choice([self.rate, self.rate, self.rate / 5, min(20, 5 * self.rate)])
            until = now + self.random.uniform(30, 600)
            while (now := now + self.random.expovariate(rate)) < until:
                yield now

    def _delivered(self) -> list[float]:
        gone: set[int] = set()
        again: list[float] = []
        for at, number in self.lost.items():
            first = bisect_left(self.arrivals, at)
            gone |= set(range(first, first + number))
        for at, number in self.twice.items():
            first = bisect_left(self.arrivals, at)
            again += self.arrivals[first : first + number]
        kept = [at for n, at in enumerate(self.arrivals) if n not in gone]
        return sorted(at + self._skew() for at in kept + again)

    def _skew(self) -> float:
        return self.random.uniform(-NOISE, NOISE) if self.skew is None else self.skew

    def _through_listener(self, delivered: Iterable[float]) -> list[float]:
        """Receive one after the other in some milliseconds, with pauses of up to a minute."""
        free, pause, received = 0.0, self.random.uniform(0, HOUR), []
        for at in delivered:
            if self.stalls and at > pause:
                free = max(free, pause + self.random.uniform(1, 60))
                pause = at + self.random.expovariate(1 / 1200)
            free = max(free, at)
            received.append(free)
            free += self.random.uniform(0, 0.04)
        return sorted(received)

    def results(self) -> dict[float, int | None]:
        """Return the result of each window, by its start."""
        found: dict[float, int | None] = {}
        for start in range(0, int(self.length) - WINDOW - GRACE, WINDOW):
            spans = [
                Span(first, first + WINDOW + GRACE)
                for first in range(max(0, start - (MAX_WINDOWS - 1) * WINDOW), start + 1, WINDOW)
            ]
            begin, end = spans[0].start, spans[-1].end
            arrivals = self.arrivals[
                bisect_left(self.arrivals, begin - YOUNG_SECONDS) : bisect_right(
                    self.arrivals, end + 1
                )
            ]
            polls = self.polls[-int(-begin // INTERVAL) : int(end // INTERVAL) + 1]
            found[start] = count_missing(arrivals, polls, spans)
        return found

    def found(self) -> dict[float, int]:
        """Return how many messages were found missing, by the start of the window."""
        return {start: number for start, number in self.results().items() if number}


@pytest.mark.parametrize("rate", [0.1, 0.3, 1, 2, 5])
@pytest.mark.parametrize("skew", [None, -NOISE, NOISE])
def test_without_a_loss_nothing_is_missing_for_days(rate: float, skew: float | None) -> None:
    for seed in range(4 if rate < 1 else 1):
        bus = Bus(seed, rate, skew=skew)
        results = list(bus.results().values())
        assert results[:3] == [None] * 3
        assert set(results[3:]) == {0}


@pytest.mark.parametrize("skew", [None, -NOISE, NOISE])
def test_without_a_loss_nothing_is_missing_on_a_busy_bus(skew: float | None) -> None:
    assert Bus(5, 20, length=6 * HOUR, skew=skew).found() == {}


@pytest.mark.parametrize(
    ("rate", "lost"), [(0.1, 8), (0.1, 50), (0.3, 8), (1, 15), (5, 30), (20, 60), (20, 400)]
)
def test_a_loss_is_found_soon_and_never_overstated(rate: float, lost: int) -> None:
    for seed in range(6):
        when = random.Random(seed).uniform(2 * HOUR, 3 * HOUR)
        found = Bus(seed, rate, length=4 * HOUR, lost={when: lost}).found()
        assert 0 < sum(found.values()) <= lost
        delay = lost / rate * 5 + 6 * WINDOW  # it cannot be found before it is over
        assert all(when - WINDOW < start < when + delay for start in found)


def test_most_losses_of_five_messages_are_found_and_none_twice() -> None:
    found = []
    for seed in range(30):
        lost = {random.Random(seed).uniform(2 * HOUR, 2.5 * HOUR): 5}
        rate = 0.1 if seed % 2 else 0.3
        found.append(sum(Bus(seed, rate, length=3.5 * HOUR, lost=lost).found().values()))
    assert max(found) <= 5
    assert sum(number > 0 for number in found) >= 25


def test_each_of_many_losses_is_counted_once() -> None:
    lost = {HOUR * (2 + 1.3 * n): 10 + n for n in range(12)}
    found = Bus(7, 0.3, lost=lost).found()
    assert len(lost) * (IGNORED_MESSAGES + 1) <= sum(found.values()) <= sum(lost.values())
    for at, number in lost.items():
        assert 0 < sum(n for start, n in found.items() if 0 <= start - at + WINDOW < HOUR) <= number


def test_duplicates_at_the_listener_hide_a_loss_for_at_most_an_hour() -> None:
    assert Bus(1, 0.3, twice={5 * HOUR: 3, 7 * HOUR: 40}).found() == {}
    bus = Bus(1, 0.3, twice={5 * HOUR: 40}, lost={5.5 * HOUR: 20, 8 * HOUR: 20})
    assert all(start >= 8 * HOUR - WINDOW for start in bus.found())
    assert 0 < sum(bus.found().values()) <= 20


# A bus with one message a second and no noise


def steady(since: float, until: float) -> list[float]:
    return [n + 0.25 for n in range(int(since), int(until))]


SPANS = [Span(n * WINDOW, (n + 1) * WINDOW + GRACE) for n in range(6)]
ARRIVALS = steady(-YOUNG_SECONDS, 2000)


def polls(lost: int = 0, at: float = 1000, **changes: int) -> list[Poll]:
    times = range(0, 2000, INTERVAL)
    return [Poll(t, OLD + t - (lost if t > at else 0), 0)._replace(**changes) for t in times]


def test_nothing_is_known_before_four_windows_after_a_restart() -> None:
    assert count_missing(ARRIVALS, polls(), SPANS[:3]) is None
    assert count_missing(ARRIVALS, polls(), SPANS[:4]) == 0
    restarted = [p._replace(restarts=p.at > 320) for p in polls()]
    assert last_restart(ARRIVALS, restarted) == 330
    assert count_missing(ARRIVALS, restarted, SPANS[:5]) is None
    assert count_missing(ARRIVALS, restarted, SPANS) == 0
    assert count_missing(ARRIVALS, [], SPANS) is None


@pytest.mark.parametrize(
    ("received", "restarted"),
    [
        ((1000, 1001), False),
        ((1000, 999), True),
        ((100, 101), True),  # the bus brought 300 messages in 300 s
        ((300, 301), False),
        ((0, 0), False),
    ],
)
def test_a_listener_that_may_have_restarted_is_taken_for_restarted(
    received: tuple[int, int], restarted: bool
) -> None:
    answers = [Poll(at, number, 0) for at, number in zip((600, 615), received, strict=True)]
    assert (last_restart(ARRIVALS, answers) == 615) is restarted


@pytest.mark.parametrize(("lost", "found"), [(0, 0), (3, 0), (4, 3), (12, 11)])
def test_a_loss_must_exceed_the_noise_and_last(lost: int, found: int) -> None:
    """Of one message a second, the skew of half a second either way leaves one in doubt."""
    answers = polls(lost, at=1000)
    results = [count_missing(ARRIVALS, answers, SPANS[: n + 1]) for n in range(6)]
    assert [number or 0 for number in results] == [0, 0, 0, 0, 0, found]


def test_a_listener_that_receives_nothing_has_lost_nothing_yet() -> None:
    still = [p._replace(received=min(p.received, OLD + 900)) for p in polls()]
    assert count_missing(ARRIVALS, still, SPANS) == 0
