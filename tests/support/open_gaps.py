"""A ledger with open gaps, and what accepts them, with or without a socket."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from busmon.audit.acceptor import Acceptor
from busmon.ledger.ledger import Ledger
from busmon.ledger.messages import MessageTrace
from busmon.ledger.open_messages import OpenMessage, State
from busmon.message import Stage
from busmon.settings.models import Web
from busmon.threads import Threads
from busmon.web.access import Access
from busmon.web.app import make_app
from busmon.web.gaps import gaps_views
from busmon.web.health import ready_view
from tests.support import web_server

FIRST = 1_772_373_900.0  # 2026-03-01 14:05:00 UTC
WINDOW = 300.0
ALL_STATES = (State.MISSING, State.UNCONFIRMED, State.RUNNING, State.RECOVERED)


class Place(NamedTuple):
    """A group of messages that windows left open."""

    window: int = 0  # 0 is the first
    bus: str = "fedora"
    topic: str = "a"
    stage: Stage = Stage.LISTENER
    state: State = State.MISSING


def leave_open(ledger: Ledger, place: Place, number: int = 1) -> None:
    """Leave so many messages open there."""
    start = FIRST + place.window * WINDOW
    with ledger.write() as tables:
        tables.open_messages.add(
            OpenMessage(
                start,
                start + WINDOW,
                place.bus,
                place.stage,
                place.state,
                MessageTrace("/".join(map(str, (*place, n))), place.topic, True),
            )
            for n in range(number)
        )


def found(ledger: Ledger, *states: State) -> Counter[Place]:
    """Return how many messages there are in these states, by place."""
    with ledger.read() as tables:
        return Counter(
            Place(round((one.start - FIRST) / WINDOW), one.bus, one.topic, one.stage, one.state)
            for one in tables.gaps.listed(states)
        )


def still_open(ledger: Ledger) -> Counter[Place]:
    """Return how many messages are missing or unconfirmed, by place."""
    return found(ledger, State.MISSING, State.UNCONFIRMED)


class StopsAt(threading.Event):
    """An event that is set at the n-th step of an acceptor, so that it ends there."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._left = step

    def wait(self, timeout: float | None = None) -> bool:
        self._left -= 1
        if self._left <= 0:
            self.set()
        return super().wait(0 if timeout else timeout)


@contextmanager
def accepting(acceptor: Acceptor) -> Iterator[None]:
    """Let it work in its thread meanwhile."""
    threads = Threads()
    threads.add("acceptances", acceptor.run, acceptor.wake)
    threads.start(threading.Event())
    try:
        yield
    finally:
        assert threads.stop(10)
    assert threads.problem() is None


@contextmanager
def serving(web: Web, ledger: Ledger, registry: CollectorRegistry | None = None) -> Iterator[str]:
    """Serve what a service with this `[web]` does with gaps, and yield its URL."""
    acceptor = Acceptor(ledger, lambda: None)
    views = gaps_views(acceptor, Access(web))
    app = make_app(web, registry or CollectorRegistry(), ready_view(list), own=views.get)
    with accepting(acceptor), web_server.serving(web, app) as server:
        yield server.url
