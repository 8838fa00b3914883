"""Keeps the verdict current: gathers the facts every few seconds, in a thread of its own.

/metrics, the page and /v1/status show the latest verdict. All facts are read from memory, so
that neither a full disk nor a dead broker holds it up.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from busmon.diagnosis.bus import BusWatch, Parts
from busmon.diagnosis.facts import Facts
from busmon.diagnosis.verdict import FaultKind, Verdict, diagnose
from busmon.metrics.families import gauge
from busmon.settings.audit import Audit
from busmon.threads import Threads

REFRESH_INTERVAL = 2.0  # seconds
STALE_SECONDS = 60.0  # without a refresh; an older verdict is worth nothing

log = logging.getLogger(__name__)


class VerdictWatcher:
    """The verdict on all buses. Any thread may ask for it."""

    def __init__(
        self,
        settings: Audit,
        parts: Parts,
        threads: Threads,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._parts = parts
        self._threads = threads
        self._clock = clock
        self._buses = [BusWatch(bus, settings, parts, clock()) for bus in parts.connections]
        self._verdict = diagnose(Facts())
        self.refresh()

    def run(self, stopping: threading.Event) -> None:
        """Refresh until `stopping`, and log each change of the verdict."""
        logged = FaultKind.NONE, ""
        while not stopping.wait(REFRESH_INTERVAL):
            self.refresh()
            kind, bus, evidence, _ = self._verdict
            if (kind, bus) != logged:
                logged = kind, bus
                level = logging.INFO if kind is FaultKind.NONE else logging.WARNING
                log.log(level, "verdict: %s: %s", kind, "; ".join(evidence[:1]))

    def refresh(self) -> None:
        """Gather the facts and judge."""
        now = self._clock()
        counts, states = self._parts.ledger.counts(), self._parts.silence.states(now)
        buses = tuple(bus.facts(now, counts, states) for bus in self._buses)
        found = diagnose(Facts(problem=self._parts.ledger.problem(), buses=buses))
        since = self._verdict.since if found[:2] == self._verdict[:2] else None
        self._verdict = found._replace(since=since or now)
        self._refreshed = now

    def verdict(self) -> Verdict:
        """Return the latest verdict."""
        if died := self._threads.problem():
            return diagnose(Facts(problem=died))
        if self._clock() - self._refreshed > STALE_SECONDS:
            hung = f"the verdict is older than {STALE_SECONDS:g} s; the log may say why"
            return diagnose(Facts(problem=hung))
        return self._verdict

    def collect(self) -> Iterator[Metric]:
        """Yield the verdict, and what it depends on."""
        found = self.verdict().kind
        yield gauge(
            "busmon_verdict",
            "Whose fault it is, as far as busmon can tell: exactly one kind is 1; kind none means"
            " that all is well. /v1/status and the page show the evidence.",
            ["kind"],
            (((kind,), kind is found) for kind in FaultKind),
        )
        yield gauge(
            "busmon_listener_queue_info",
            "Always 1. kind: temporary if the listener's queue is deleted with its connection,"
            " permanent if it outlives it, or unknown.",
            ["bus", "kind"],
            (((bus, kind), 1) for bus, kind in self._parts.listener_queues.items()),
        )
