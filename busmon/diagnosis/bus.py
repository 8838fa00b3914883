"""Facts of one bus, each from the part of the service that knows it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from busmon.archive.opinion import Opinions
from busmon.archive.reconciliation import Reconciliation
from busmon.archive.witness import Witness
from busmon.audit.auditor import Auditor
from busmon.diagnosis.facts import BusFacts, ListenerFacts, LostMessages, WorkerFacts
from busmon.diagnosis.listener import MonitorWatch, QueueWatch, TapWatch
from busmon.diagnosis.stages import RECENT_WINDOWS, RecentWindows
from busmon.diagnosis.topics import Received, received, topic_facts
from busmon.diagnosis.workers import WorkersWatch
from busmon.ledger.batch import Count, Series
from busmon.ledger.differences import Difference
from busmon.ledger.gaps import OpenGap
from busmon.ledger.ledger import Ledger
from busmon.ledger.windows import Place
from busmon.message import Stage, Topic
from busmon.observers.base import Observer
from busmon.observers.celery import CeleryObserver
from busmon.observers.queue import QueueObserver
from busmon.observers.ready import ReadyObserver
from busmon.observers.tap import TapObserver
from busmon.settings.audit import Audit
from busmon.silence.blind_time import BlindTime
from busmon.silence.state import SilenceState
from busmon.silence.watcher import SilenceWatcher
from busmon.sources.base import Cause, ConnectionState
from busmon.sources.listener_queue import ListenerQueue

# What busmon itself does to a connection.
OWN_CAUSES = tuple(f"{cause}:" for cause in (Cause.LEDGER, Cause.HUNG, Cause.ERROR))

SHOWN_DAYS = 3  # a difference is of yesterday, or the archive has not answered since

Kind = TypeVar("Kind", bound=Observer)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the service that know something. They are only read, from memory."""

    ledger: Ledger
    connections: Mapping[str, ConnectionState]  # by bus
    blind_time: BlindTime
    silence: SilenceWatcher
    observers: Sequence[Observer]
    auditor: Auditor
    listener_queues: Mapping[str, ListenerQueue]  # by bus
    witness: Witness | None = None
    reconciliation: Reconciliation | None = None

    def differences(self, now: float) -> Iterator[Difference]:
        """Yield the topics of which the archive and the ledger do not have the same messages."""
        for found in self.reconciliation.found() if self.reconciliation else ():
            recent = found.day >= now // 86400 - SHOWN_DAYS
            if recent and (found.only_archive or found.only_ours):
                yield found


def lost_messages(gaps: Mapping[Place, OpenGap], bus: str) -> Iterator[LostMessages]:
    """Yield the open gaps of a bus by stage; `gaps` are those of all buses."""
    for stage in Stage:
        here = [gap for place, gap in gaps.items() if (place.bus, place.stage) == (bus, stage)]
        if here:
            messages = sum(gap.messages for gap in here)
            yield LostMessages(stage, messages, min(gap.oldest for gap in here))


class BusWatch:
    """Gathers the facts of one bus."""

    def __init__(self, bus: str, settings: Audit, parts: Parts, started: float) -> None:
        self._bus = bus
        self._parts = parts
        self._windows = RecentWindows(bus, RECENT_WINDOWS * settings.window + settings.grace)
        monitor = self._observer(ReadyObserver)
        tap = self._observer(TapObserver)
        celery = self._observer(CeleryObserver)
        queues = self._observer(QueueObserver)
        self._monitor = MonitorWatch(monitor, started) if monitor else None
        self._tap = TapWatch(tap, started) if tap else None
        self._queues = QueueWatch(queues, started) if queues else None
        self._workers = WorkersWatch(celery, started) if celery else None

    def facts(
        self, now: float, counts: Mapping[Series, Count], states: Mapping[Topic, SilenceState]
    ) -> BusFacts:
        """Return what is known now. `counts` and `states` are those of all buses."""
        came = received(self._bus, counts, now)
        lost = tuple(lost_messages(self._parts.auditor.open_gaps(), self._bus))
        by_stage = {one.stage: one.messages for one in lost}
        self._windows.add(now, self._parts.auditor.totals(), by_stage)
        finished, handled = map(self._windows.counts, (Stage.WORKER, Stage.HANDLERS))
        own = self._parts.connections[self._bus].problem()
        shared = self._parts.blind_time.is_received_by_others(self._bus)
        problem = None if shared else own
        return BusFacts(
            name=self._bus,
            problem=problem,
            cut_off=own if shared else None,
            own_problem=(problem or "").startswith(OWN_CAUSES),
            topics=topic_facts(self._bus, came, states, self._opinions(now), now),
            listener=self._listener(now, came),
            workers=self._workers.facts(now, finished, handled) if self._workers else WorkerFacts(),
            lost=lost,
            windows=self._parts.auditor.windows_with_gaps().get(self._bus, 0),
            unconfirmed=tuple(self._unconfirmed()),
            differences=tuple(d for d in self._parts.differences(now) if d.bus == self._bus),
        )

    def _opinions(self, now: float) -> Opinions:
        witness = self._parts.witness
        return witness.opinions(self._bus, now) if witness else Opinions()

    def _unconfirmed(self) -> Iterator[tuple[Stage, int]]:
        for (bus, stage), messages in self._parts.auditor.unconfirmed().items():
            if bus == self._bus and messages:
                yield stage, messages

    def _listener(self, now: float, came: Received) -> ListenerFacts:
        reception = self._parts.blind_time.reception(self._bus)
        monitor = self._monitor
        return ListenerFacts(
            monitor=monitor.health(now) if monitor else None,
            stalled=monitor.stalled(now, came.handled, reception) if monitor else 0,
            standing=monitor.standing(now) if monitor else 0.0,
            tap=self._tap.at(now) if self._tap else None,
            passed=self._windows.counts(Stage.LISTENER),
            queue=self._parts.listener_queues[self._bus],
            at_broker=self._queues.facts(now) if self._queues else None,
        )

    def _observer(self, kind: type[Kind]) -> Kind | None:
        on_bus = (o for o in self._parts.observers if isinstance(o, kind) and o.bus == self._bus)
        return next(on_bus, None)
