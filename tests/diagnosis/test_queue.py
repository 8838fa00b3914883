"""Whether it is the listener's fault, by what the broker says of its queue."""

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from busmon.diagnosis.evidence import RESTART_SECONDS
from busmon.diagnosis.facts import BusFacts, FoundQueue, QueueFacts
from busmon.diagnosis.listener import QueueWatch
from busmon.diagnosis.verdict import FaultKind
from busmon.ledger.ledger import Ledger
from busmon.ledger.values import Interval
from busmon.observers.queue import QueueObserver
from busmon.sources.base import Cause, Disconnected
from busmon.sources.listener_queue import DOWN as DOWN_TEXT
from busmon.sources.listener_queue import ListenerQueue, QueueState
from tests.diagnosis.test_verdict import DOWN, HOUR, NO_FACTS, UP, bus, fedora
from tests.support.brokers import wait_until
from tests.support.diagnosis import Bench, verdict_on
from tests.support.ledgers import NOW
from tests.support.queue_looks import GONE, HELD, QUEUE, Looks
from tests.support.threads import running


def at_broker(state: QueueState, wrong: float | None = None, *, ever: bool = True) -> QueueFacts:
    return QueueFacts(UP, (FoundQueue("its-queue", state, wrong, ever),))


def waiting(seconds: float = 120.0, *, grown: int) -> QueueFacts:
    state = QueueState(messages=40, consumers=1)
    return QueueFacts(UP, (FoundQueue("its-queue", state, waiting=seconds, grown=grown),))


# What is known, the verdict, and what of the evidence matters to whoever is called for it.
SCENARIOS: dict[str, tuple[BusFacts, FaultKind, list[str]]] = {
    "only the broker says that the listener is well": (
        bus(NO_FACTS, at_broker=at_broker(HELD)),
        FaultKind.NONE,
        ["connected; a connection holds its queue"],
    ),
    "only the broker says that the listener is well, and its queue is durable": (
        bus(NO_FACTS, at_broker=at_broker(QueueState(messages=3, consumers=1))),
        FaultKind.NONE,
        ["connected; 1 consumer on its queue"],
    ),
    "the listener's queue is gone": (
        bus(NO_FACTS, at_broker=at_broker(GONE, 130.0)),
        FaultKind.LISTENER,
        [
            "the listener's queue its-queue has been gone for 2 min, and new messages are"
            " lost: the listener is down, or its queue was deleted"
        ],
    ),
    "nobody consumes from the listener's queue": (
        bus(NO_FACTS, at_broker=at_broker(QueueState(messages=80, consumers=0), 120.0)),
        FaultKind.LISTENER,
        [
            "nobody has consumed from the listener's queue its-queue for 2 min:"
            " the listener is down; its queue holds 80 messages"
        ],
    ),
    "the listener restarts": (
        bus(NO_FACTS, at_broker=at_broker(GONE, 59.0)),
        FaultKind.NONE,
        ["the broker no longer has the listener's queue its-queue: the listener may be restarting"],
    ),
    "the listener restarts, and its queue is durable": (
        bus(NO_FACTS, at_broker=at_broker(QueueState(messages=80, consumers=0), 59.0)),
        FaultKind.NONE,
        ["nobody consumes from the listener's queue its-queue: the listener may be restarting"],
    ),
    "the listener is dead, and so is its connection": (
        fedora(monitor=DOWN, at_broker=at_broker(HELD)),
        FaultKind.LISTENER,
        [
            "a connection holds its queue its-queue at the last look: the listener is connected,"
            " its connection is dead and the broker had not noticed it, or it died since"
        ],
    ),
    "a queue that was never there": (
        bus(NO_FACTS, at_broker=at_broker(GONE, 9 * HOUR, ever=False)),
        FaultKind.NONE,
        [
            "its listener is not watched",
            "nothing is known of the listener's queue; its-queue, which its file names, was never"
            " there",
        ],
    ),
    "one of two queues was never there": (
        bus(
            NO_FACTS,
            at_broker=QueueFacts(
                UP,
                (FoundQueue("its-queue", HELD), FoundQueue("other", GONE, 9 * HOUR, ever=False)),
            ),
        ),
        FaultKind.NONE,
        [
            "connected; a connection holds its queue",
            "nothing is known of the listener's queue; other, which its file names, was never"
            " there",
        ],
    ),
    "messages wait beside a consumer that receives nothing": (
        fedora(standing=130.0, at_broker=waiting(grown=1)),
        FaultKind.LISTENER,
        [
            "40 messages waiting in the listener's queue its-queue, 1 more than 2 min ago, and the"
            " listener received nothing for 2 min: it hangs, or its connection is dead"
        ],
    ),
    "messages wait, and since then the listener has received one": (
        fedora(standing=110.0, at_broker=waiting(grown=30)),
        FaultKind.NONE,
        [
            "40 messages waiting in the listener's queue its-queue, 30 more than 2 min ago: the"
            " listener is slower than the bus, or hangs"
        ],
    ),
    "messages wait for less than a minute": (
        fedora(standing=900.0, at_broker=waiting(59.0, grown=3)),
        FaultKind.NONE,
        ["1 consumer on its queue"],
    ),
    "messages wait, and become no more": (
        fedora(standing=900.0, at_broker=waiting(grown=0)),
        FaultKind.NONE,
        ["1 consumer on its queue"],
    ),
    "the broker does not answer about the listener's queue": (
        fedora(at_broker=QueueFacts(DOWN)),
        FaultKind.NONE,
        ["nothing is known of the listener's queue; no answer"],
    ),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_verdict_goes_by_the_queue(scenario: str) -> None:
    facts, kind, words = SCENARIOS[scenario]
    verdict = verdict_on(facts)
    assert verdict.kind is kind
    assert [word for word in words if word not in "\n".join(verdict.evidence)] == []


def test_what_is_lost_is_said_once() -> None:
    facts = fedora(monitor=DOWN, at_broker=at_broker(GONE, 130.0))
    verdict = verdict_on(facts)
    assert len(verdict.evidence) == 2, verdict.evidence


@pytest.mark.parametrize(
    ("kind", "down"), [(ListenerQueue.TEMPORARY, False), (ListenerQueue.PERMANENT, True)]
)
def test_a_queue_is_not_both_gone_and_held(kind: ListenerQueue, down: bool) -> None:
    facts = fedora(monitor=DOWN, queue=kind, at_broker=at_broker(HELD))
    evidence = "\n".join(verdict_on(facts).evidence)
    assert (DOWN_TEXT[kind] in evidence, "holds its queue" in evidence) == (down, True)


def test_a_broker_that_busmon_cannot_reach_says_it_once() -> None:
    facts = bus(NO_FACTS, problem="network: refused", at_broker=QueueFacts(DOWN))
    assert len(verdict_on(facts).evidence) == 1


class Broker:
    """Says how the queue is, at the time of a bench; with None it does not answer."""

    def __init__(self) -> None:
        self.state: QueueState | None = HELD
        self.bench = Bench(ask=self._ask)
        [self.observer] = self.bench.observers

    def after(self, seconds: float, state: QueueState) -> FaultKind:
        """Let the queue be so, after that time, and return the verdict."""
        self.bench.now += seconds
        if self.state:  # else a look that has begun before would see it at another time
            self._wait_for(self.state)
        self.state = state
        self._wait_for(state)
        return self.bench.refresh().kind

    def fail(self) -> FaultKind:
        """Do not answer any more."""
        self.state = None
        wait_until(lambda: not self.observer.up(), what="a look that fails")
        return self.bench.refresh().kind

    def _wait_for(self, state: QueueState) -> None:
        def seen() -> bool:
            assert isinstance(self.observer, QueueObserver)
            looks = self.observer.looks().values()
            return [look[:2] for look in looks] == [(state, self.bench.now)]

        wait_until(seen, what="a look")

    def _ask(self, *_: object) -> dict[str, QueueState]:
        if not self.state:
            raise Disconnected(Cause.NETWORK, "refused")
        return {QUEUE: self.state}


def test_a_listener_that_restarts_within_a_minute_is_not_blamed() -> None:
    broker = Broker()
    with broker.bench.observing():
        assert broker.after(0, HELD) is FaultKind.NONE
        assert broker.after(60, GONE) is FaultKind.NONE
        assert broker.after(RESTART_SECONDS - 10, GONE) is FaultKind.NONE
        assert broker.after(5, HELD) is FaultKind.NONE
        assert broker.after(60, GONE) is FaultKind.NONE
        assert broker.after(RESTART_SECONDS, GONE) is FaultKind.LISTENER
        assert broker.after(60, HELD) is FaultKind.NONE


def test_a_listener_that_came_back_since_the_last_look_is_not_blamed() -> None:
    bench = Bench()
    observer = QueueObserver("fedora", lambda *_: {"its-queue": GONE}, bench.ledger, HOUR)
    with running(observer.run):
        wait_until(observer.up, what="the only look")
        watch = QueueWatch(observer, 0.0)
        [queue] = watch.facts(time.time() + RESTART_SECONDS).queues
        assert queue.wrong == 0.0
    bench.ledger.close()


def test_a_broker_that_is_away_says_nothing_of_the_time_between() -> None:
    broker = Broker()
    with broker.bench.observing():
        assert broker.after(60, GONE) is FaultKind.NONE
        assert broker.after(RESTART_SECONDS, GONE) is FaultKind.LISTENER
        assert broker.fail() is FaultKind.NONE
        assert broker.after(60, GONE) is FaultKind.NONE
        assert broker.after(RESTART_SECONDS, GONE) is FaultKind.LISTENER


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with closing(Ledger(":memory:")) as opened:
        yield opened


USED = QueueState(messages=0, consumers=1)


def held_up(*counts: int, ledger: Ledger) -> FoundQueue:
    """Return what is known of a queue at the last of some looks, a minute apart."""
    looks = ((NOW + 60 * n, USED._replace(messages=count)) for n, count in enumerate(counts))
    watch = QueueWatch(Looks(ledger).at(*looks), NOW)
    [queue] = watch.facts(NOW + 60 * (len(counts) - 1)).queues
    return queue


@pytest.mark.parametrize(
    ("counts", "waiting", "grown"),
    [
        ((0, 0), 0.0, 0),
        ((0, 7), 0.0, 0),
        ((0, 7, 7, 9), 120.0, 2),
        ((9, 7, 8), 60.0, 1),
        ((7, 9, 0), 0.0, 0),
    ],
)
def test_a_queue_is_held_up_while_no_count_is_lower_than_the_last(
    counts: tuple[int, ...], waiting: float, grown: int, ledger: Ledger
) -> None:
    queue = held_up(*counts, ledger=ledger)
    assert (queue.waiting, queue.grown) == (waiting, grown)


def test_one_failed_look_changes_nothing(ledger: Ledger) -> None:
    looks = Looks(ledger)
    observer = looks.at((NOW, GONE), (NOW + 60, None), (NOW + 70, GONE))
    assert observer.looks()[QUEUE].wrong_since == NOW
    assert observer.problem() is None
    assert looks.at((NOW + 130, None), (NOW + 140, None)).looks() == {}
    assert observer.problem() == "network: refused"
    assert looks.at((NOW + 200, GONE)).looks()[QUEUE].wrong_since == NOW + 200
    with ledger.read() as tables:
        assert tables.coverage.intervals("queue:fedora") == [
            Interval(NOW, NOW + 70),
            Interval(NOW + 200, NOW + 200),
        ]


def test_a_suspended_process_has_not_watched_the_queue(ledger: Ledger) -> None:
    Looks(ledger).at((NOW, HELD), (NOW + 60, HELD), (NOW + 3600, HELD), (NOW + 3660, HELD))
    with ledger.read() as tables:
        assert tables.coverage.intervals("queue:fedora") == [
            Interval(NOW, NOW + 60),
            Interval(NOW + 3600, NOW + 3660),
        ]
