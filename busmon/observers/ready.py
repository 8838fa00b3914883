"""Asks the listener's own monitor: fedora-messaging's `/ready`, which counts its messages.

It answers 200 with `{"consuming": bool, "published": n, "consumed": {"received": n, …}}`,
whether consuming or not (fedora-messaging 3.6 and later, `[monitoring]` in its TOML).
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Annotated, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, build_opener

from prometheus_client.core import Metric

from busmon.ledger.ledger import Ledger, LedgerWriteError
from busmon.ledger.listener import Increase, Poll
from busmon.metrics.families import counter, gauge
from busmon.observers.base import Observer, ObserverSettings
from busmon.observers.health import ObserverHealth
from busmon.settings.section import checked
from busmon.settings.units import Seconds, format_seconds

STATES = ("received", "processed", "dropped", "rejected", "failed")
TIMEOUT = 5.0  # seconds for connecting, and for each part of the answer
MAX_ANSWER_BYTES = 64 * 1024  # bytes of an answer; it has about 150
RESTARTS = "restarts"  # kept as if it were a state


def _check_url(text: str) -> None:
    if "@" in text:  # the URL is logged
        raise ValueError("should hold no user and no password")
    try:
        parts = urlsplit(text)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return
    except ValueError:  # of a port, or of brackets
        pass
    raise ValueError("should be http://HOST:PORT/ready of the listener's fedora-messaging")


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


class Unanswered(Exception):
    """The listener's monitor did not answer as one; the text says how."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the monitor says: whether it is subscribed, and its totals since its start."""

    consuming: bool
    totals: Mapping[str, int]


class ReadyObserver:
    """Polls the monitor of one bus's listener, and keeps count over restarts of both."""

    kind = "ready"

    def __init__(self, settings: ReadySettings, ledger: Ledger) -> None:
        self.bus = settings.bus
        self.interval = settings.interval  # seconds between two questions
        self._name = f"{self.kind}:{self.bus}"
        self._sight = ObserverHealth(self._name)
        self._settings = settings
        self._ledger = ledger
        self._consuming = False
        self._last_look: float | None = None  # the last good one, without a bad one since
        with ledger.read() as tables:
            self._totals = tables.listener.totals(self.bus)

    def run(self, stopping: threading.Event) -> None:
        """Ask every `interval` seconds until `stopping`."""
        while not stopping.is_set():
            self._look()
            stopping.wait(self.interval)

    def up(self) -> bool:
        """Tell whether the monitor answers."""
        return self._sight.problem() is None

    def problem(self) -> str | None:
        """Return why the monitor does not answer, or None where it does."""
        return self._sight.problem()

    def consuming(self) -> bool:
        """Tell whether the listener was consuming, by its last answer."""
        return self._consuming

    def received(self) -> int:
        """Return how many messages the listener received, by its own count."""
        return self._totals.get("received", 0)

    def collect(self) -> Iterator[Metric]:
        """Yield what the listener says of itself."""
        totals = self._totals
        yield gauge(
            "busmon_listener_up",
            "1 while the listener's monitor answers that it is consuming, else 0.",
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
            "Times that the listener's own counts began anew.",
            ["bus"],
            [((self.bus,), totals.get(RESTARTS, 0))],
        )

    def _look(self) -> None:
        try:
            asked = time.time()
            answer = ask(self._settings.url)
            self._record(answer, asked, time.time())
        except (Unanswered, LedgerWriteError) as error:
            self._last_look = None
            self._sight.blind(f"{self._settings.url}: {error}")
            return
        self._consuming = answer.consuming
        self._sight.clear(self.interval + 2 * TIMEOUT)

    def _record(self, answer: Answer, asked: float, now: float) -> None:
        with self._ledger.write() as tables:
            listener = tables.listener
            listener.add(self.bus, increases(listener.last(self.bus), answer.totals))
            totals = listener.totals(self.bus)
            # A slow answer is newer than the question: so a message is counted too early, and
            # none too late.
            poll = Poll(asked, answer.totals["received"], totals[RESTARTS])
            listener.add_poll(self.bus, poll)
            tables.coverage.extend(self._name, now, self._last_look)
        self._totals, self._last_look = totals, now


class NoRedirect(HTTPRedirectHandler):
    """Goes where it is told, and nowhere else: the answer would be another server's."""

    def redirect_request(self, *_: object) -> None:
        """Follow no redirect."""
        return


def ask(url: str) -> Answer:
    """Return what the monitor at `url` says; raises Unanswered."""
    try:
        # By no proxy: the monitor is the listener's, in the same network.
        with build_opener(ProxyHandler({}), NoRedirect()).open(url, timeout=TIMEOUT) as response:
            body = response.read(MAX_ANSWER_BYTES + 1)
    except HTTPError as error:
        with error:
            raise Unanswered(f"answers with status {error.code}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise Unanswered(f"no answer: {getattr(error, 'reason', None) or error}") from error
    return parse(body)


def parse(body: bytes) -> Answer:
    """Return the answer as what it says; raises Unanswered where it is no monitor's."""
    try:
        given: Any = json.loads(body) if len(body) <= MAX_ANSWER_BYTES else None
        consuming, consumed = given["consuming"], given["consumed"]
        totals = {state: consumed[state] for state in STATES}
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise Unanswered("does not answer as fedora-messaging's monitor does") from error
    if type(consuming) is not bool or not all(map(_is_total, totals.values())):
        raise Unanswered("does not answer as fedora-messaging's monitor does")
    return Answer(consuming, totals)


def _is_total(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def increases(last: Mapping[str, int], given: Mapping[str, int]) -> dict[str, Increase]:
    """Return what the totals have grown by, or all of them where the listener began anew.

    What it had counted before it was first asked is not added: it would look like a rush.
    """
    restarted = any(given[state] < last.get(state, 0) for state in given)
    grown = {
        state: Increase(value, value if restarted else value - last.get(state, value))
        for state, value in given.items()
    }
    return grown | {RESTARTS: Increase(0, int(restarted))}
