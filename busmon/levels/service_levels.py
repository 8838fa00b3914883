"""How many messages were within the bound of each service level: judged once, and counted."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import Metric

from busmon.audit.absences import Absence, AbsenceSource, absences
from busmon.audit.scope import Scope
from busmon.ledger.coverage import MAX_GAP_SECONDS, observer_id
from busmon.ledger.ledger import Ledger
from busmon.ledger.service_levels import HandledMessage, LevelKey
from busmon.ledger.tables import Tables
from busmon.levels.judgement import Within, judge
from busmon.metrics.families import counter, gauge
from busmon.settings.service_level import ServiceLevel

MAX_MESSAGES = 500  # of a step, which takes some milliseconds
# A message from further ahead has the time of a wrong clock, and is judged at once.
MAX_AHEAD_SECONDS = 3600.0
# If a listener is gone, only the next one shows what became of the messages.
MAX_WAIT_SECONDS = 24 * 3600.0


class _Watched:
    """See Watched."""

    def __init__(self, tables: Tables, bus: str, absent: Sequence[Absence], grace: float) -> None:
        self._tables = tables
        self._bus = bus
        self._absent = absent
        self._grace = grace

    def listener(self, since: float, until: float) -> bool:
        return self._tables.coverage.is_covered(observer_id("tap", self._bus), since, until)

    def workers(self, since: float, until: float) -> bool:
        return self._tables.coverage.is_covered(observer_id("celery", self._bus), since, until)

    def lost(self, at: float) -> bool:
        return any(one.since - one.unhandled <= at < one.until for one in self._absent)

    def blind_before(self, at: float) -> bool:
        return self._tables.blind_times.was_blind(self._bus, at - self._grace, at)


class ServiceLevelCounter:
    """Judges each message once its bound and the audit's grace have passed. One thread counts.

    Messages are on record for `retention` seconds. Any thread may collect. Raises
    LedgerWriteError and LedgerError if the ledger cannot be written or read; then nothing has
    changed.
    """

    def __init__(
        self,
        ledger: Ledger,
        levels: Mapping[str, ServiceLevel],
        scopes: Mapping[str, Scope],
        grace: float,
        retention: float,
    ) -> None:
        self._ledger = ledger
        self._scopes = scopes
        self._grace = grace
        self._retention = retention
        self._levels = {LevelKey(level.bus, name): level for name, level in levels.items()}
        with ledger.write() as tables:
            tables.service_levels.begin(self._levels)
            self._totals = tables.service_levels.totals()

    def count(self, now: float, pause: Callable[[], bool]) -> None:
        """Judge all messages that are due. `pause` between two steps returns whether to stop."""
        for key, level in self._levels.items():
            while self._step(key, level, now) and not pause():
                pass

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, from memory."""
        totals = self._totals
        yield counter(
            "busmon_slo_messages_total",
            "Messages by whether they reached the stage of a service level within its time.",
            ["bus", "slo", "within"],
            (
                (((*key, within)), totals.get((key, within), 0))
                for key in self._levels
                for within in Within
            ),
        )
        yield gauge(
            "busmon_slo_objective",
            "The share of messages that should be within the time of a service level.",
            ["bus", "slo"],
            ((key, level.objective) for key, level in self._levels.items()),
        )

    def _step(self, key: LevelKey, level: ServiceLevel, now: float) -> bool:
        """Judge the next messages of a service level; return whether there are more."""
        with self._ledger.read() as tables:
            due = self._due(tables, level, now)
            before = after = tables.service_levels.progress()[key]
            if tables.service_levels.last() < after:
                after = 0  # all messages were deleted since, and their numbers begin again
            pending = tables.service_levels.first_pending(after, due, now + MAX_AHEAD_SECONDS)
            messages = tables.service_levels.handled(key.bus, after, pending, MAX_MESSAGES)
            absent = self._absent(tables, key.bus, messages)
            watched = _Watched(tables, key.bus, absent, self._grace)
            matching = (message for message in messages if level.matches(message.topic))
            found = Counter(judge(message, level, watched).value for message in matching)
        more = len(messages) == MAX_MESSAGES
        to = messages[-1].seq if more else pending - 1
        if to != before:
            with self._ledger.write() as tables:
                tables.service_levels.advance(key, before, to, found)
                totals = tables.service_levels.totals()
            self._totals = totals
        return more

    def _due(self, tables: Tables, level: ServiceLevel, now: float) -> float:
        """Return the Unix time; what was received before can be judged."""
        patience = level.within + self._grace + MAX_GAP_SECONDS
        last_run = tables.coverage.last_end(observer_id("listener", level.bus))
        if self._scopes[level.bus].absences is not AbsenceSource.TAP or last_run is None:
            return now - patience
        wait = max(0.0, min(MAX_WAIT_SECONDS, self._retention - 2 * patience))
        return min(now - patience, max(last_run, now - patience - wait))

    def _absent(
        self, tables: Tables, bus: str, messages: Sequence[HandledMessage]
    ) -> list[Absence]:
        """Return the absences of the listener from the first of these messages on."""
        source = self._scopes[bus].absences
        if source is not AbsenceSource.TAP or not messages:
            return []
        first = min(message.received_at for message in messages)
        return list(absences(tables, bus, source, self._grace, first))
