"""Keeps the verdicts current: gathers the facts every few seconds, in a thread of its own.

/metrics, the page and /v1/status show the latest ones. All facts are read from memory, so
that neither a full disk nor a dead broker holds it up.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import NamedTuple

from prometheus_client.core import Metric

from busmon.diagnosis.bus import BusWatch, Parts, lost_messages
from busmon.diagnosis.facts import Facts
from busmon.diagnosis.incidents import IncidentLog
from busmon.diagnosis.verdict import FaultKind, Verdict, busmon_is_at_fault, diagnose
from busmon.ledger.incidents import Incident
from busmon.metrics.families import gauge
from busmon.settings.audit import Audit
from busmon.text import format_time
from busmon.threads import Threads

REFRESH_INTERVAL = 2.0  # seconds
STALE_SECONDS = 60.0  # without a refresh; an older verdict is worth nothing


class Diagnosis(NamedTuple):
    """What was found on the buses."""

    verdicts: Mapping[str, Verdict]  # by bus
    incidents: Sequence[Incident]  # the last ones, in order of their begin
    lost: Mapping[str, int] = MappingProxyType({})  # messages in gaps, of any bus


class VerdictWatcher:
    """The verdict on each bus. Any thread may ask for it."""

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
        self._verdicts: Mapping[str, Verdict] = {}
        self.incidents = IncidentLog(parts.ledger, clock())
        self.refresh()

    def run(self, stopping: threading.Event) -> None:
        """Refresh until `stopping`."""
        while not stopping.wait(REFRESH_INTERVAL):
            self.refresh()

    def refresh(self) -> None:
        """Gather the facts and judge."""
        now = self._clock()
        counts, states = self._parts.ledger.counts(), self._parts.silence.states(now)
        buses = tuple(bus.facts(now, counts, states) for bus in self._buses)
        found = diagnose(Facts(problem=self._parts.ledger.problem(), buses=buses))
        self.incidents.note(found, now)
        self._verdicts = {bus: self._dated(bus, verdict, now) for bus, verdict in found.items()}
        self._refreshed = now

    def verdicts(self) -> Mapping[str, Verdict]:
        """Return the latest verdict on each bus."""
        if died := self._threads.problem():
            return busmon_is_at_fault(died, self._parts.connections)
        if self._clock() - self._refreshed > STALE_SECONDS:
            hung = f"the verdict is older than {STALE_SECONDS:g} s; the log may say why"
            return busmon_is_at_fault(hung, self._parts.connections)
        return self._verdicts

    def diagnosis(self) -> Diagnosis:
        """Return what was found, as people see it."""
        lost = Counter[str]()
        for place, gap in self._parts.auditor.open_gaps().items():
            lost[place.bus] += gap.messages
        return Diagnosis(self.verdicts(), self.incidents.latest(), lost)

    def status(self) -> dict[str, object]:
        """Return what /v1/status answers."""
        found, gaps = self.diagnosis(), self._parts.auditor.open_gaps()
        return {
            "buses": {bus: one._asdict() for bus, one in found.verdicts.items()},
            "open_gaps": [
                {"bus": bus} | asdict(lost)
                for bus in sorted(found.lost)
                for lost in lost_messages(gaps, bus)
            ],
            "incidents": [incident._asdict() for incident in found.incidents],
            "archive_differences": [
                one._asdict() for one in self._parts.differences(self._clock())
            ],
        }

    def collect(self) -> Iterator[Metric]:
        """Yield the verdicts, and what they depend on."""
        found = self.verdicts().items()
        yield gauge(
            "busmon_verdict",
            "Whose fault it is on this bus, as far as busmon can tell: exactly one kind is 1 for"
            " each bus; kind none means that all is well. /v1/status and the page show the"
            " evidence.",
            ["bus", "kind"],
            (((bus, kind), kind is verdict.kind) for bus, verdict in found for kind in FaultKind),
        )
        yield gauge(
            "busmon_listener_queue_info",
            "Always 1. kind: temporary if the listener's queue is deleted with its connection,"
            " permanent if it outlives it, or unknown.",
            ["bus", "kind"],
            (((bus, kind), 1) for bus, kind in self._parts.listener_queues.items()),
        )

    def _dated(self, bus: str, verdict: Verdict, now: float) -> Verdict:
        before = self._verdicts.get(bus)
        since = before.since if before and before.kind is verdict.kind else None
        began = self.incidents.began(bus, verdict.kind)
        uncertain = (
            f"not yet known, since busmon has just started: whether the verdict {one.kind}, since"
            f" {format_time(one.began)}, still holds"
            for one in self.incidents.uncertain(bus)
        )
        return Verdict(verdict.kind, (*verdict.evidence, *uncertain), began or since or now)
