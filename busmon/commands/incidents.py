"""`busmon incidents`: find when all was not well on a bus, and what was lost."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from busmon.audit.absences import Absence
from busmon.commands.gaps import TooMany, check_bus, known_absences
from busmon.config.model import Config
from busmon.diagnosis.stages import RECENT_WINDOWS
from busmon.diagnosis.verdict import FaultKind
from busmon.ledger.acceptances import Acceptance
from busmon.ledger.incidents import Incident, Loss
from busmon.ledger.tables import Tables
from busmon.ledger.values import Interval
from busmon.message import Stage
from busmon.settings.audit import Audit


class IncidentsQuery(NamedTuple):
    """What to look for; None stands for every bus."""

    since: float  # Unix time: incidents that ended later
    now: float
    bus: str | None = None


@dataclass(frozen=True, slots=True)
class FoundIncident:
    """An incident, and what else is on record of its time."""

    incident: Incident
    losses: Sequence[Loss]
    absences: Sequence[Absence]  # of the listener, if it is at fault
    blind: Sequence[Interval]  # when busmon did not receive from the bus


class StillLost(NamedTuple):
    """The open gaps of a bus."""

    bus: str
    messages: int
    oldest: float  # Unix time at which the oldest window with one began


@dataclass(frozen=True, slots=True)
class Incidents:
    """The answer to a query."""

    query: IncidentsQuery
    found: Sequence[FoundIncident]  # in order of their begin
    accepted: Sequence[Acceptance]  # meanwhile, by persons; in order of time
    still_lost: Sequence[StillLost]


def find_incidents(
    tables: Tables, query: IncidentsQuery, config: Config | None, most: int | None = None
) -> Incidents:
    """Return the incidents, each with what was lost.

    Raises NothingToAskOf, and TooMany if there are more than `most`.
    """
    check_bus(tables, query.bus, config)
    listed = tables.incidents.listed(query.since, query.bus)
    if most is not None and len(listed) > most:
        raise TooMany(most, "incidents")
    record = _Record(tables, config, listed)
    found = [_found(record, incident) for incident in listed]
    accepted = [
        one
        for one in reversed(tables.acceptances.all())
        if one.accepted_at >= query.since and query.bus in {None, one.selection.bus or query.bus}
    ]
    return Incidents(query, found, accepted, list(_still_lost(tables, query.bus)))


def _still_lost(tables: Tables, bus: str | None) -> Iterator[StillLost]:
    gaps = sorted(tables.gaps.open().items())
    for name, group in groupby(gaps, key=lambda gap: gap[0].bus):
        found = [gap for _, gap in group]
        if bus in {None, name}:
            messages, oldest = sum(gap.messages for gap in found), min(gap.oldest for gap in found)
            yield StillLost(name, messages, oldest)


class _Record:
    """What is on record of the time of some incidents, which can be very many: read once."""

    def __init__(
        self, tables: Tables, config: Config | None, incidents: Sequence[Incident]
    ) -> None:
        settings = config.audit if config else Audit()
        # A verdict goes by the last windows, so what it is about was before it.
        self._before = RECENT_WINDOWS * settings.window + settings.grace
        self._losses: Mapping[str, list[Loss]] = {}
        self._blind: Mapping[str, list[Interval]] = {}
        if incidents:  # reading all that is open takes long where that is much
            first = min(incident.began for incident in incidents)
            last = max(self.span(incident).until for incident in incidents)
            self._losses = tables.incidents.losses(first - self._before)
            self._blind = {
                bus: tables.blind_times.between(bus, first, last)
                for bus in {incident.bus for incident in incidents}
            }
        at_fault = {one.bus for one in incidents if one.kind == FaultKind.LISTENER}
        self._absences = (
            {bus: list(known_absences(tables, bus, config)) for bus in at_fault} if config else {}
        )

    def span(self, incident: Incident) -> Interval:
        """Return the time that an incident is about."""
        until = incident.seen if incident.ended is None else incident.ended
        return Interval(incident.began - self._before, until)

    def losses(self, bus: str, span: Interval) -> list[Loss]:
        """Return what the windows that reach into this time left open, by stage and state."""
        windows = self._losses.get(bus, [])  # they follow each other
        first = bisect_right(windows, span.since, key=lambda loss: loss.until)
        end = bisect_left(windows, span.until, key=lambda loss: loss.start)
        found = []
        for (stage, state), group in groupby(sorted(windows[first:end]), lambda one: one[:2]):
            _, _, messages, starts, ends = zip(*group, strict=True)
            found.append(Loss(stage, state, sum(messages), min(starts), max(ends)))
        return found

    def blind(self, incident: Incident) -> Sequence[Interval]:
        """Return when busmon did not receive from the bus in the time of an incident."""
        times, (_, until) = self._blind[incident.bus], self.span(incident)  # they follow each other
        first = bisect_right(times, incident.began, key=lambda time: time.until)
        return times[first : bisect_left(times, until, key=lambda time: time.since)]

    def absences(self, bus: str, span: Interval) -> list[Absence]:
        """Return those of the listener that have some of this time."""
        known = self._absences.get(bus, [])
        return [absence for absence in known if absence.overlaps(*span)]


def _found(record: _Record, incident: Incident) -> FoundIncident:
    span = record.span(incident)
    losses, absences = record.losses(incident.bus, span), list[Absence]()
    if incident.kind == FaultKind.WORKERS:  # what the listener loses is an incident of its own
        losses = [loss for loss in losses if loss.stage != Stage.LISTENER]
    if incident.kind == FaultKind.LISTENER:
        absences = record.absences(incident.bus, span)
    return FoundIncident(incident, losses, absences, record.blind(incident))
