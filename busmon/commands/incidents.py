"""`busmon incidents`: find when all was not well on a bus, and what was lost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from busmon.audit.absences import Absence
from busmon.commands.gaps import NothingToAskOf, known_absences
from busmon.config.model import Config
from busmon.diagnosis.stages import RECENT_WINDOWS
from busmon.diagnosis.verdict import FaultKind
from busmon.ledger.acceptances import Acceptance
from busmon.ledger.incidents import Incident, Loss
from busmon.ledger.tables import Tables
from busmon.ledger.values import Interval
from busmon.message import Stage
from busmon.settings.audit import Audit
from busmon.text import printable


class Query(NamedTuple):
    """What to look for; None stands for every bus."""

    since: float  # Unix time: incidents that ended later
    now: float
    bus: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
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

    query: Query
    found: Sequence[Found]  # in order of their begin
    accepted: Sequence[Acceptance]  # meanwhile, by persons; in order of time
    still_lost: Sequence[StillLost]


def find_incidents(tables: Tables, query: Query, config: Config | None) -> Incidents:
    """Return the incidents, each with what was lost; raises NothingToAskOf."""
    buses = tables.buses.names()
    if query.bus is not None and query.bus not in buses:
        known = f"; known buses: {', '.join(sorted(buses))}" if buses else ""
        raise NothingToAskOf(f"no such bus: {printable(query.bus)}{known}")
    found = [
        _found(tables, incident, config)
        for incident in tables.incidents.listed(query.since, query.bus)
    ]
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


def _found(tables: Tables, incident: Incident, config: Config | None) -> Found:
    settings = config.audit if config else Audit()
    until = incident.seen if incident.ended is None else incident.ended
    # A verdict goes by the last windows, so what it is about was before it.
    since = incident.began - RECENT_WINDOWS * settings.window - settings.grace
    losses = tables.incidents.losses(incident.bus, since, until)
    if incident.kind == FaultKind.WORKERS:  # what the listener loses is an incident of its own
        losses = [loss for loss in losses if loss.stage != Stage.LISTENER]
    absences: Iterator[Absence] = iter(())
    if config and incident.kind == FaultKind.LISTENER:
        absences = known_absences(tables, incident.bus, config)
    return Found(
        incident,
        losses,
        [absence for absence in absences if absence.overlaps(since, until)],
        tables.blind_times.between(incident.bus, incident.began, until),
    )
