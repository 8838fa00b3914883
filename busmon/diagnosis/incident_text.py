"""Incidents in words."""

from busmon.diagnosis.incidents import KEEP_SECONDS
from busmon.diagnosis.verdict import FaultKind
from busmon.ledger.incidents import Incident
from busmon.text import format_duration, format_span, format_time

WHAT: dict[str, str] = {
    FaultKind.BUSMON: "busmon itself did not work",
    FaultKind.CONNECTION: "busmon's connection to the bus was down, or its queue lost messages",
    FaultKind.BUS: "busmon was connected, but the whole bus was silent",
    FaultKind.LISTENER: "the bus delivered, but the listener did not pass messages on",
    FaultKind.WORKERS: "the listener passed messages on, but the workers did not finish them",
    FaultKind.PUBLISHER: "some topics were silent, others were not",
}
SURE_SECONDS = 10.0  # between the time at which it was seen last and its end


def lasts(incident: Incident, now: float) -> bool:
    """Return whether it goes on, as far as is known: a busmon that runs writes it again."""
    return incident.ended is None and now < incident.seen + 2 * KEEP_SECONDS


def length(incident: Incident, now: float) -> str:
    """Return how long it was, or is so far, as far as is known."""
    if lasts(incident, now):
        until = max(now, incident.seen)
    else:
        until = incident.seen if incident.ended is None else incident.ended
        if until - incident.seen > SURE_SECONDS:
            until = incident.seen
    return format_duration(until - incident.began)


def evidence(incident: Incident) -> tuple[str, ...]:
    """Return the last evidence, after how it began: when it ends, the cause may not show."""
    first, last = incident.first_evidence[:1], incident.last_evidence
    at_first = () if first == last[:1] else tuple(f"at first: {line}" for line in first)
    return at_first + last


def times(incident: Incident, now: float) -> str:
    """Return when it was and how long, and what of that is not known."""
    began, seen, ended = incident.began, incident.seen, incident.ended
    duration = length(incident, now)
    if lasts(incident, now):
        return f"since {format_time(began)}, for {duration}"
    if ended is None:
        return f"{format_span(began, seen)} at least, for {duration}; then busmon did not run"
    if ended - seen > SURE_SECONDS:
        return (
            f"{format_span(began, seen)} at least, for {duration}; then busmon did not run, and it"
            f" was over at {format_time(ended)} at the latest"
        )
    return f"{format_span(began, ended)}, for {duration}"
