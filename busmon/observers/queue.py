"""Observes the listener's queues: whether they are there, and somebody consumes from them.

It needs nothing of the listener but the file that names its queues, and changes nothing there.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set
from typing import NamedTuple

from prometheus_client.core import Metric

from busmon.ledger.coverage import observer_id
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.ledger.tables import Tables
from busmon.metrics.families import gauge
from busmon.observers.health import ObserverHealth
from busmon.problem_log import ProblemLog
from busmon.settings.section import Section, Strings
from busmon.sources.base import ConnectionState, Disconnected
from busmon.sources.bus import Bus
from busmon.sources.listener_queue import QueueState
from busmon.sources.session import Stopped
from busmon.text import format_items

INTERVAL = 60.0  # seconds; RabbitMQ logs an error each time for a queue that is gone or held
RETRY_INTERVAL = 10.0  # seconds, after a look that failed: one may be bad luck
MAX_LOOK_SECONDS = 30.0  # that a look takes, with all its deadlines
MAX_GAP_SECONDS = 2 * INTERVAL + MAX_LOOK_SECONDS  # after which busmon was suspended
# An unused queue is counted ever more rarely, when its time without consumers has grown by a
# tenth: to count it renews the time after which it expires, which must not go on for ever.
UNUSED_SHARE = 10

Ask = Callable[[ConnectionState, Set[str]], dict[str, QueueState]]  # see Bus.look_at_queues

log = logging.getLogger(__name__)


class QueueSettings(Section):
    """`[audit.queue]`: the listeners' queues are looked at."""

    buses: Strings | None = None  # None: each bus whose file names a queue of the listener

    def watched(self, buses: Mapping[str, Bus]) -> dict[str, Bus]:
        """Return the buses whose queues are looked at, by name."""
        wanted = buses if self.buses is None else self.buses
        return {name: bus for name, bus in buses.items() if name in wanted and bus.queue_names()}

    def make_observers(self, buses: Mapping[str, Bus], ledger: Ledger) -> "list[QueueObserver]":
        """Return an observer for each of these buses."""
        return [
            QueueObserver(name, bus.look_at_queues, ledger)
            for name, bus in self.watched(buses).items()
        ]

    def describe(self, buses: Mapping[str, Bus]) -> str:
        """Return what `busmon check-config` shows of it; "" if nothing is looked at."""
        watched = self.watched(buses)
        queues = (
            f"of {name} {format_items(bus.queue_names(), 'queue')}" for name, bus in watched.items()
        )
        return f"once a minute, {'; '.join(queues)}" if watched else ""


class Look(NamedTuple):
    """What is known of a queue; Unix times."""

    state: QueueState
    counted: float  # when its consumers were counted last
    wrong_since: float | None = None  # since it was first found gone or unused; None: it is not
    # Since when messages have waited beside a consumer, and no count was lower than the last.
    waiting_since: float | None = None
    waited: int = 0  # messages then


class Presence(NamedTuple):
    """What the last look said of all queues of a listener together."""

    at: float  # Unix time
    gone: bool  # none is there


class QueueObserver:
    """Looks at the listener's queues on one bus."""

    kind = "queue"

    def __init__(
        self,
        name: str,
        ask: Ask,
        ledger: Ledger,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.bus = name
        self._ask = ask
        self._ledger = ledger
        self._interval = interval
        self._clock = clock
        self._name = observer_id(self.kind, name)
        self._health = ObserverHealth(self._name)
        self._bugs = ProblemLog(log)
        self._looks: dict[str, Look] = {}  # by queue; empty while nothing is known
        self._last_look: float | None = None  # Unix time
        self._failures = 0  # since the last look that did not fail
        with ledger.read() as tables:
            self._found = tables.buses.found_queues(name)
            self._presence = _last_presence(tables, name)
            self._looks.update(_looks_before(tables, name, self._found, self._presence))

    def run(self, stopping: threading.Event) -> None:
        """Look every `interval` seconds until `stopping`."""
        connection = ConnectionState()
        connection.stopping = stopping
        while not stopping.is_set():
            try:
                self._look(connection)
            except Stopped:
                return
            except Disconnected as error:
                if stopping.is_set():
                    return
                self._fail(f"{error.cause}: {error.detail}")
            except LedgerWriteError as error:
                self._fail(f"ledger: {error}")
            except Exception as error:  # noqa: BLE001 - a bug in this must not end the buses
                self._fail(f"error: {error!r}")
                self._bugs.problem(
                    "%s: unexpected error", self._name, level=logging.ERROR, error=error
                )
            retry = min(RETRY_INTERVAL, self._interval)
            stopping.wait(retry if self._failures == 1 else self._interval)

    def up(self) -> bool:
        """Return whether the broker says how the queues are."""
        return self._health.problem() is None

    def problem(self) -> str | None:
        """Return why it does not, or None if it does."""
        return self._health.problem()

    def was_there(self, queue: str) -> bool:
        """Return whether a queue was ever there: only then its absence is a fact."""
        return queue in self._found

    def looks(self) -> Mapping[str, Look]:
        """Return what is known of each queue now; empty while nothing is known."""
        return self._looks if self.up() else {}

    def collect(self) -> Iterator[Metric]:
        """Yield how the queues are."""
        states = {name: look.state for name, look in self.looks().items() if self.was_there(name)}
        yield gauge(
            "busmon_listener_queue_up",
            "1 while the listener's queue is there, 0 while it is gone.",
            ["bus", "queue"],
            (((self.bus, queue), state.there) for queue, state in states.items()),
        )
        for name, text in (
            ("messages", "Messages that wait in the listener's queue."),
            ("consumers", "Consumers of the listener's queue."),
        ):
            values = {queue: getattr(state, name) for queue, state in states.items()}
            yield gauge(
                f"busmon_listener_queue_{name}",
                text,
                ["bus", "queue"],
                (((self.bus, queue), n) for queue, n in values.items() if n is not None),
            )

    def _look(self, connection: ConnectionState) -> None:
        now = self._clock()
        if self._last_look is None and not self._recent(now):
            self._looks = {}  # what an earlier busmon saw is too old
        uncounted = {queue for queue, look in self._looks.items() if not _is_due(look, now)}
        states = self._ask(connection, uncounted)
        looks = {
            queue: _next(self._looks.get(queue), state, now, counted=queue not in uncounted)
            for queue, state in states.items()
        }
        there = {queue for queue, state in states.items() if state.there}
        with self._ledger.write() as tables:
            tables.coverage.add_span(self._name, self._watched_since(now), now, 0.0)
            if new := there - self._found:
                tables.buses.add_found_queues(self.bus, new)
            presence = self._note_presence(tables, now, there, self._found & states.keys())
        self._found |= there
        self._looks, self._last_look, self._failures = looks, now, 0
        self._presence = presence
        self._health.up(self._interval + RETRY_INTERVAL + 2 * MAX_LOOK_SECONDS)
        self._bugs.solved()

    def _note_presence(
        self, tables: Tables, now: float, there: Set[str], found: Set[str]
    ) -> Presence | None:
        """Write whether the listener has a queue, or all that were ever there are gone.

        An absence lasts from the last look that did not find it to the first that does not any
        more; if looks failed between for longer than a minute, that time proves nothing.
        """
        if not there and not found:
            return None
        last = self._recent(now)
        since = last.at if last else now
        gone_before = last is not None and last.gone
        if not there or gone_before:
            tables.coverage.add_span(observer_id("absent", self.bus), since, now, 0.0)
        if there:
            begun = now if gone_before else since
            tables.coverage.add_span(observer_id("present", self.bus), begun, now, 0.0)
        return Presence(now, gone=not there)

    def _recent(self, now: float) -> Presence | None:
        """Return what the last look saw, unless it was too long ago to prove anything."""
        last = self._presence
        return last if last and 0 <= now - last.at <= MAX_GAP_SECONDS else None

    def _watched_since(self, now: float) -> float:
        """Return the time of the last look; `now` if the process was suspended since then."""
        if self._last_look is None or not 0 <= now - self._last_look <= MAX_GAP_SECONDS:
            return now
        return self._last_look

    def _fail(self, problem: str) -> None:
        """Forget what was known, if this is no single failure after a look.

        A broker that cannot be asked says nothing of the queues.
        """
        self._failures += 1
        if self._failures == 1 and self._last_look is not None:
            return
        self._looks, self._last_look = {}, None
        self._health.down(problem)


def _last_presence(tables: Tables, bus: str) -> Presence | None:
    """Return what an earlier busmon saw last."""
    ends = (
        (tables.coverage.last_end(observer_id(kind, bus)), kind == "absent")
        for kind in ("absent", "present")
    )
    known = [Presence(at, gone) for at, gone in ends if at is not None]
    return max(known, key=lambda seen: (seen.at, not seen.gone), default=None)


def _looks_before(
    tables: Tables, bus: str, queues: Set[str], last: Presence | None
) -> dict[str, Look]:
    """Return what an earlier busmon knew of queues that were gone."""
    if not last or not last.gone:
        return {}
    begun = tables.coverage.covered_since(observer_id("absent", bus), last.at, last.at)
    # It was there at the begin of that time, and gone at the next look.
    since = last.at if begun is None else min(begun + INTERVAL, last.at)
    return dict.fromkeys(queues, Look(QueueState(there=False), last.at, since))


def _is_due(look: Look, now: float) -> bool:
    """Return whether to count a queue again."""
    if not look.state.unused or look.wrong_since is None or now < look.counted:
        return True  # the last: the clock was set back
    return now - look.counted >= (now - look.wrong_since) / UNUSED_SHARE


def _next(last: Look | None, state: QueueState, now: float, *, counted: bool) -> Look:
    """Return what is known after another look."""
    if last and not counted and state.there and not state.held:
        return last
    wrong = state.unused or not state.there
    since = last.wrong_since if last else None
    look = Look(state, now, (now if since is None else min(since, now)) if wrong else None)
    if not state.consumers or not state.messages:
        return look
    if last and last.waiting_since is not None and (last.state.messages or 0) <= state.messages:
        return look._replace(waiting_since=min(last.waiting_since, now), waited=last.waited)
    return look._replace(waiting_since=now, waited=state.messages)
