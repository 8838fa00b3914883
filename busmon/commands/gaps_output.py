"""`busmon gaps`: print what was found, as a table, as JSON, or only the ids."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import chain
from typing import Any

from busmon.audit.absences import Absence
from busmon.commands.gaps import Gap, GapMessage, Gaps, NoData
from busmon.commands.reconsume import NAME_THE_CALLBACK
from busmon.message import Stage
from busmon.sources.amqp.fedora_toml import NO_CALLBACK
from busmon.text import format_number, format_span, format_time, printable

START_THE_WORKERS = (
    "Start the workers before you consume these again: tasks that still wait in a queue are then"
    " done (`busmon status` shows the queues)."
)


def as_ids(found: Gaps) -> str:
    """Return the ids of the listed messages that can be consumed again, each once, one a line."""
    ids = (message.id for message in _open_messages(found) if message.reconsume.command)
    return "\n".join(dict.fromkeys(ids))


def _open_messages(found: Gaps) -> Iterator[GapMessage]:
    listed: list[Gap | NoData] = [*found.open(), *found.no_data]
    return chain.from_iterable(one.messages for one in listed)


def as_json(found: Gaps) -> str:
    """Return everything as one JSON object; Unix times."""
    answer = {
        "since": found.query.since,
        "closed_until": found.closed_until,
        "audited": [{"bus": bus, "stage": stage} for bus, stage in found.audited],
        "gaps": list(map(_as_dict, found.gaps)),
        "no_data": list(map(_as_dict, found.no_data)),
        "absences": [{"bus": bus} | absence_as_dict(absence) for bus, absence in found.absences],
        "accepted": found.accepted,
    }
    return json.dumps(answer, indent=2)


def _as_dict(one: Gap | NoData) -> dict[str, Any]:
    messages = [{"id": it.id, "reconsume": it.reconsume.command} for it in one.messages]
    return asdict(one) | {"messages": messages}


def as_table(found: Gaps) -> str:
    """Return everything for people to read, each message with the command to consume it again."""
    lines = chain.from_iterable(map(_lines, found.listed()))
    return "\n".join([*lines, *_summary(found)])


def _lines(one: Gap | NoData) -> Iterator[str]:
    return _lines_of_gap(one) if isinstance(one, Gap) else _lines_of_no_data(one)


def _lines_of_gap(gap: Gap) -> Iterator[str]:
    place = f"{format_span(gap.start, gap.until)}  {gap.bus}  {gap.stage}"
    estimated = ", known to a minute" if gap.estimated else ""
    yield f"{place}  {printable(gap.topic)}  {gap.number} {gap.state}{estimated}"
    if gap.open:
        yield from _commands(gap.messages)
    else:
        yield from (f"    {printable(message.id)}" for message in gap.messages)


def _lines_of_no_data(one: NoData) -> Iterator[str]:
    place = f"{format_span(one.start, one.until)}  {one.bus}  {one.stage}"
    if one.stage is Stage.BUS:
        yield f"{place}  no data: busmon did not receive for a part of this time, or all of it"
        return
    done = "passed on" if one.stage is Stage.LISTENER else "finished"
    number = format_number(one.unconfirmed, "message")
    yield f"{place}  no data: {number} not confirmed as {done}"
    yield from _commands(one.messages)


def _commands(messages: Iterable[GapMessage]) -> Iterator[str]:
    for identity, (command, why_not) in messages:
        yield f"    {command or f'{printable(identity)}: {why_not}'}"


def _how_much(found: Gaps) -> str:
    gaps, since = found.open(), found.query.since
    then = "" if since is None else f" since {format_time(since)}"
    if not gaps:
        return f"No message is known to be missing{then}"
    number = sum(gap.number for gap in gaps)
    windows = format_number(len({gap.start for gap in gaps}), "window")
    verb = "is" if number == 1 else "are"
    return f"{format_number(number, 'message')} of {windows}{then} {verb} still missing"


def describe_absence(absence: Absence) -> str:
    """Return an absence of a listener in words."""
    text = f"the listener had no queue from {format_span(absence.since, absence.until)}"
    lost = "what came meanwhile is lost"
    if absence.estimated:
        return f"{text}, known to a minute: {lost}, but for up to a minute at each end"
    return f"{text}: {lost}"


def absence_as_dict(absence: Absence) -> dict[str, Any]:
    """Return an absence of a listener for JSON; Unix times."""
    return {"since": absence.since, "until": absence.until, "estimated": absence.estimated}


def _summary(found: Gaps) -> Iterator[str]:
    """Yield how much is missing, and what a reader must not conclude from it."""
    yield _how_much(found)
    for bus, absence in found.absences:
        yield f"{bus}: {describe_absence(absence)}."
    if found.accepted:
        yield f"{format_number(found.accepted, 'message')} accepted (`busmon gaps accepted`)"
    if any(NO_CALLBACK in (message.reconsume.command or "") for message in _open_messages(found)):
        yield NAME_THE_CALLBACK
    if any(gap.stage in {Stage.WORKER, Stage.HANDLERS} for gap in found.open()):
        yield START_THE_WORKERS
    if found.closed_until is None:
        yield "No window is closed yet."
        return
    yield f"Windows are closed up to {format_time(found.closed_until)}."
    if any(one.unconfirmed for one in found.no_data) and not found.query.unconfirmed:
        yield "Absence of data proves nothing. --unconfirmed lists what may be missing."
    watched = {bus for bus, stage in found.audited if stage is not Stage.BUS}
    for bus in sorted({bus for bus, _ in found.audited} - watched):
        yield f"{bus}: there is no tap, so nobody knows what its listener passes on."
