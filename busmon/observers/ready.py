"""Observes the listener through its own monitor, which counts its messages."""

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Annotated

from prometheus_client.core import Metric

from busmon.ledger.coverage import observer_id
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.ledger.listener import Increase
from busmon.metrics.families import counter, gauge
from busmon.observers.base import Observer, ObserverSettings
from busmon.observers.health import ObserverHealth
from busmon.observers.ready_client import STATES, TIMEOUT, MonitorAnswer, Unanswered, ask
from busmon.settings.section import checked
from busmon.settings.units import Seconds, format_seconds
from busmon.settings.urls import check_url

RESTARTS = "restarts"  # stored as if it were a state


def _check_url(text: str) -> None:
    check_url(text, "should be http://HOST:PORT/ready of the listener's fedora-messaging")


class ReadySettings(ObserverSettings):
    """`[audit.ready]`: the listener's own monitor is asked."""

    url: Annotated[str, checked(_check_url)]
    interval: Seconds = 15

    def make_observer(self, ledger: Ledger) -> Observer:
        """See ObserverSettings."""
        return ReadyObserver(self, ledger)

    def describe(self) -> str:
        """See ObserverSettings."""
        return f"of the listener of {self.bus}, every {format_seconds(self.interval)}"


class ReadyObserver:
    """Polls the monitor of one bus's listener. Its counts continue over restarts of both."""

    kind = "ready"

    def __init__(self, settings: ReadySettings, ledger: Ledger) -> None:
        self.bus = settings.bus
        self.interval = settings.interval  # seconds between two polls
        self._name = observer_id(self.kind, self.bus)
        self._health = ObserverHealth(self._name)
        self._url = settings.url
        self._ledger = ledger
        self._consuming = False
        self._last_poll: float | None = None  # Unix time; None if the last one failed
        with ledger.read() as tables:
            self._totals = tables.listener.totals(self.bus)

    def run(self, stopping: threading.Event) -> None:
        """Poll every `interval` seconds until `stopping`."""
        while not stopping.is_set():
            self._poll()
            stopping.wait(self.interval)

    def up(self) -> bool:
        """Return whether the monitor answers."""
        return self._health.problem() is None

    def problem(self) -> str | None:
        """Return why the monitor does not answer, or None if it does."""
        return self._health.problem()

    def consuming(self) -> bool:
        """Return whether the listener was consuming, according to its last answer."""
        return self._consuming

    def received(self) -> tuple[int, int]:
        """Return how many messages the listener has received by its own count, and restarts."""
        return self._totals.get("received", 0), self._totals.get(RESTARTS, 0)

    def collect(self) -> Iterator[Metric]:
        """Yield what the listener says of itself."""
        totals = self._totals
        yield gauge(
            "busmon_listener_up",
            "1 while the listener's monitor answers that it consumes, else 0.",
            ["bus"],
            [((self.bus,), self._consuming and self.up())],
        )
        yield counter(
            "busmon_listener_messages_total",
            "Messages by what the listener did with them, by its own count since busmon first"
            " asked for it.",
            ["bus", "state"],
            (((self.bus, state), totals.get(state, 0)) for state in STATES),
        )
        yield counter(
            "busmon_listener_restarts_total",
            "How often the listener's own counts started again.",
            ["bus"],
            [((self.bus,), totals.get(RESTARTS, 0))],
        )

    def _poll(self) -> None:
        try:
            answer = ask(self._url)
            self._record(answer, time.time())
        except (Unanswered, LedgerWriteError) as error:
            self._last_poll = None
            self._health.down(f"{self._url}: {error}")
            return
        self._consuming = answer.consuming
        self._health.up(self.interval + 2 * TIMEOUT)

    def _record(self, answer: MonitorAnswer, now: float) -> None:
        with self._ledger.write() as tables:
            listener = tables.listener
            listener.add(self.bus, increases(listener.last(self.bus), answer.counts))
            totals = listener.totals(self.bus)
            tables.coverage.extend(self._name, now, self._last_poll)
        self._totals, self._last_poll = totals, now


def increases(last: Mapping[str, int], given: Mapping[str, int]) -> dict[str, Increase]:
    """Return by how much the listener's counts have grown since the last poll.

    A lower count means that the listener was restarted: then all of it is new. What it had
    counted before the first poll is not added, since it would look like a sudden rush.
    """
    restarted = any(given[state] < last.get(state, 0) for state in given)
    grown = {
        state: Increase(value, value if restarted else value - last.get(state, value))
        for state, value in given.items()
    }
    return grown | {RESTARTS: Increase(0, int(restarted))}
