"""Whether it is the listener's fault, by what the broker says of its queue."""

import time

import pytest

from busmon.diagnosis.evidence import RESTART_SECONDS
from busmon.diagnosis.facts import BusFacts, FoundQueue, QueueFacts
from busmon.diagnosis.listener import QueueWatch
from busmon.diagnosis.verdict import FaultKind
from busmon.observers.queue import QueueObserver
from busmon.sources.base import Cause, Disconnected
from busmon.sources.listener_queue import QueueState
from tests.diagnosis.test_verdict import DOWN, HOUR, NO_FACTS, UP, bus, fedora
from tests.support.brokers import wait_until
from tests.support.diagnosis import Bench, verdict_on
from tests.support.threads import running

GONE, HELD = QueueState(there=False), QueueState(held=True)


def at_broker(state: QueueState, wrong: float | None = None, *, ever: bool = True) -> QueueFacts:
    return QueueFacts(UP, (FoundQueue("its-queue", state, wrong, ever),))


# What is known, the verdict, and what of the evidence matters to whoever is called for it.
SCENARIOS: dict[str, tuple[BusFacts, FaultKind, list[str]]] = {
    "only the broker says that the listener is well": (
        bus(NO_FACTS, at_broker=at_broker(HELD)),
        FaultKind.NONE,
        ["connected; 0 topics as usual; a connection holds its queue"],
    ),
    "only the broker says that the listener is well, and its queue is durable": (
        bus(NO_FACTS, at_broker=at_broker(QueueState(messages=3, consumers=1))),
        FaultKind.NONE,
        ["connected; 0 topics as usual; 1 consumer on its queue"],
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
        bus(NO_FACTS, at_broker=at_broker(GONE, 119.0)),
        FaultKind.NONE,
        ["the broker no longer has the listener's queue its-queue: the listener may be restarting"],
    ),
    "the listener restarts, and its queue is durable": (
        bus(NO_FACTS, at_broker=at_broker(QueueState(messages=80, consumers=0), 60.0)),
        FaultKind.NONE,
        ["nobody consumes from the listener's queue its-queue: the listener may be restarting"],
    ),
    "the listener is dead, and so is its connection": (
        fedora(monitor=DOWN, at_broker=at_broker(HELD)),
        FaultKind.LISTENER,
        [
            "a connection holds its queue its-queue: the listener is connected, or its connection"
            " is dead and the broker has not noticed it"
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
            "connected; 0 topics as usual; a connection holds its queue",
            "nothing is known of the listener's queue; other, which its file names, was never"
            " there",
        ],
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
        return {"its-queue": self.state}


def test_a_listener_that_restarts_within_two_minutes_is_not_blamed() -> None:
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
