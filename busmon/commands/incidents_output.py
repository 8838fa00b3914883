"""`busmon incidents`: print what was found, as a table, as JSON, or as a report in Markdown."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from busmon.commands.acceptances import as_dicts
from busmon.commands.gaps_output import absence_as_dict, describe_absence
from busmon.commands.incidents import FoundIncident, Incidents
from busmon.diagnosis.incident_text import WHAT, evidence, lasts, length, times
from busmon.ledger.acceptances import Acceptance, describe
from busmon.ledger.incidents import Loss
from busmon.text import format_duration, format_number, format_span, format_time, printable

# Of Markdown: a person wrote the reason of an acceptance.
MARKUP, ESCAPED = re.compile(r"[\\`*_\[\]<>|&]"), r"\\\g<0>"


def as_json(found: Incidents) -> str:
    """Return everything as one JSON object; Unix times."""
    answer = {
        "since": found.query.since,
        "incidents": [as_dict(one, found.query.now) for one in found.found],
        "accepted": as_dicts(found.accepted),
        "still_lost": [lost._asdict() for lost in found.still_lost],
    }
    return json.dumps(answer, indent=2)


def as_dict(one: FoundIncident, now: float) -> dict[str, Any]:
    """Return an incident for JSON; Unix times."""
    return one.incident._asdict() | {
        "lasts": lasts(one.incident, now),
        "losses": [loss._asdict() for loss in one.losses],
        "absences": list(map(absence_as_dict, one.absences)),
        "blind": [interval._asdict() for interval in one.blind],
    }


def as_table(found: Incidents) -> str:
    """Return everything for people to read."""
    lines = [line for one in found.found for line in _lines(one, found.query.now)]
    return "\n".join([*lines, *_summary(found)])


def _lines(one: FoundIncident, now: float) -> Iterator[str]:
    yield f"{one.incident.bus}: {one.incident.kind}, {times(one.incident, now)}"
    for line in (*evidence(one.incident), *consequences(one)):
        yield f"    {printable(line)}"


def _summary(found: Incidents) -> Iterator[str]:
    number, since = len(found.found), format_time(found.query.since)
    yield f"{format_number(number, 'incident') if number else 'No incident'} since {since}"
    for acceptance in found.accepted:
        yield _accepted(acceptance)
    for bus, messages, oldest in found.still_lost:
        yield (
            f"{bus}: {format_number(messages, 'message')} still lost, the oldest of the window"
            f" from {format_time(oldest)} (busmon gaps)"
        )


def _accepted(one: Acceptance) -> str:
    messages = format_number(one.messages + one.unconfirmed, "message")
    text = (
        f"{format_time(one.accepted_at)}: {one.who} accepted {messages} of"
        f" {describe(one.selection)}: {one.reason}"
    )
    if one.reverted_at is not None:
        text += f"; {one.reverted_by} reopened them, {format_time(one.reverted_at)}"
    return printable(text)


def as_markdown(found: Incidents) -> str:
    """Return a report for a post-mortem."""
    return "\n".join(_report(found))


def _report(found: Incidents) -> Iterator[str]:
    since, now = found.query.since, found.query.now
    yield f"# Incidents from {format_time(since)} to {format_time(now)}"
    yield from ("", *(f"- {MARKUP.sub(ESCAPED, line)}" for line in _summary(found)))
    if found.found:
        yield from ("", "| | begin (UTC) | duration | bus | verdict | messages left open |")
        yield "|---|---|---|---|---|---|"
    for number, one in enumerate(found.found, 1):
        yield f"| {' | '.join(_cells(number, one, now))} |"
    for number, one in enumerate(found.found, 1):
        yield from _section(number, one, now)


def _cells(number: int, one: FoundIncident, now: float) -> Iterator[str]:
    incident = one.incident
    duration = length(incident, now)
    yield str(number)
    yield format_time(incident.began).removesuffix(" UTC")
    yield f"{duration}, and it lasts" if lasts(incident, now) else duration
    yield incident.bus
    yield incident.kind
    yield "; ".join(_counts(one.losses)) or "none"


def _section(number: int, one: FoundIncident, now: float) -> Iterator[str]:
    incident = one.incident
    yield from ("", f"## {number}. {incident.bus}: {WHAT.get(incident.kind, incident.kind)}", "")
    yield from (f"- {line}" for line in (times(incident, now), *consequences(one)))
    same = incident.first_evidence == incident.last_evidence
    both = ((incident.began, incident.first_evidence), (incident.seen, incident.last_evidence))
    for at, lines in both[1:] if same else both:
        yield from ("", f"Evidence at {format_time(at)}:", "")
        yield from (f"    {printable(line)}" for line in lines)


def consequences(one: FoundIncident) -> Iterator[str]:
    """Yield what became of messages meanwhile, and what is not known."""
    if one.losses:
        span = format_span(
            min(loss.start for loss in one.losses), max(loss.until for loss in one.losses)
        )
        yield f"messages of the windows from {span}: {'; '.join(_counts(one.losses))}"
    yield from map(describe_absence, one.absences)
    if one.incident.away:
        away = format_duration(one.incident.away)
        yield f"busmon did not run for up to {away} of this time"
    for since, until in one.blind:
        yield f"busmon did not receive from this bus from {format_span(since, until)}"


def _counts(losses: Iterable[Loss]) -> Iterator[str]:
    for stage, group in groupby(losses, key=lambda loss: loss.stage):
        yield f"{stage}: {', '.join(f'{loss.messages} {loss.state}' for loss in group)}"
