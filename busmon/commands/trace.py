"""`busmon trace`: everything that is known of one message."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

from busmon.commands.reconsume import Reconsume, ReconsumeCommands
from busmon.commands.task_tree import Branch, as_dicts, describe, find_tree, lines
from busmon.commands.trace_archive import (
    Archived,
    archived_lines,
    page_in_archive,
    reconsume_lines,
)
from busmon.commands.trace_archive import as_dict as archived_as_dict
from busmon.commands.trace_listener import (
    ListenerState,
    describe_end,
    describe_unreported,
    listener_at,
)
from busmon.config.model import Config
from busmon.ledger.gaps import OpenAt
from busmon.ledger.messages import MessageRecord
from busmon.ledger.open_messages import State
from busmon.ledger.tables import Tables
from busmon.message import Outcome
from busmon.sources.listener_queue import DEATH
from busmon.text import format_duration, format_time, printable


class TracedMessage(NamedTuple):
    """What is known of the message on one bus."""

    record: MessageRecord
    listener: ListenerState  # when busmon received the message
    audit: Sequence[OpenAt]  # where it was open when its window closed, and what became of it
    tree: Sequence[Branch]  # the tasks that were made of it
    page: str | None  # its URL in the archive
    reconsume: Reconsume | None  # None: it is not missing


def find_message(
    tables: Tables, message_id: str, config: Config | None, now: float
) -> list[TracedMessage]:
    """Return what is known of the message on each bus that has it.

    The configuration says what becomes of each listener's queue. `now` is Unix time.
    """
    buses = config.buses if config else {}
    commands = ReconsumeCommands(config)
    found = []
    for record in tables.messages.find(message_id):
        audit = tables.gaps.history(record.bus, message_id)
        missing = any(at.state is State.MISSING for at in audit)
        found.append(
            TracedMessage(
                record,
                listener_at(tables, record, buses.get(record.bus), now),
                audit,
                find_tree(tables, record.task),
                page_in_archive(config, record.bus, message_id),
                commands.of(record.bus, message_id) if missing else None,
            )
        )
    return found


def message_of(tables: Tables, identity: str) -> str:
    """Return the id of the message of which a task was made, also by an id in its tree.

    What is the id of no such task is taken for the id of a message.
    """
    task = tables.tasks.get(identity)
    return tables.tap_reports.message_of(task.root if task else identity) or identity


def not_found(message_id: str, oldest: float | None) -> str:
    """Return what to print for a message that is not on record since `oldest`, a Unix time."""
    record = f"messages since {format_time(oldest)}" if oldest is not None else "no message yet"
    return f"{printable(message_id)}: not on record; the ledger holds {record}"


def is_received(found: Sequence[TracedMessage]) -> bool:
    """Return whether busmon received the message from any bus."""
    return any(one.record.received_at is not None for one in found)


def as_json(found: Sequence[TracedMessage], archived: Archived | None) -> str:
    """Return a JSON array, with one object for each bus; Unix times.

    And with one for what only the archive has.
    """
    objects = [as_dict(one) for one in found]
    if archived:
        objects.append(archived_as_dict(archived))
    return json.dumps(objects, indent=2)


def as_dict(found: TracedMessage) -> dict[str, Any]:
    """Return what is known of a message for JSON; Unix times."""
    return found.record._asdict() | {
        "listener": found.listener._asdict(),
        "audit": [at._asdict() for at in found.audit],
        "tasks": as_dicts(found.tree),
        "page": found.page,
        "reconsume": found.reconsume and found.reconsume.command,
    }


def as_text(title: str, found: Sequence[TracedMessage], archived: Archived | str | None) -> str:
    """Return everything for people to read; a text says why the archive shows nothing."""
    blocks = [*map(labelled_lines, found), *([archived_lines(archived)] if archived else [])]
    shown = "\n\n".join(
        "\n".join(f"  {label:<9} {printable(text)}" for label, text in block) for block in blocks
    )
    return f"{title}\n{shown}" if shown else title


def labelled_lines(found: TracedMessage) -> Iterator[tuple[str, str]]:
    """Yield what is known of a message, each line with a label."""
    record = found.record
    yield "bus", record.bus
    yield "topic", record.topic
    yield "received", _received(record)
    if record.outcome is not None:
        yield "judged", f"{record.outcome} {record.reason}".rstrip()
    yield "listener", _listener(found)
    if record.task:
        root = next((branch.task for branch in found.tree if not branch.depth), None)
        yield "worker", describe(root) if root else "no event of the task is known"
        yield from zip(chain(["handlers"], repeat("")), lines(found.tree), strict=False)
    yield from (("audit", _audit(at)) for at in found.audit)
    yield from reconsume_lines(found.reconsume)
    if found.page:
        yield "archive", found.page


def _audit(at: OpenAt) -> str:
    """Return what the audit says of a message at a stage."""
    window = f"the window that began {format_time(at.start)}"
    estimated = ", known to a minute" if at.estimated else ""
    match at.state:
        case State.RUNNING:
            due = f"from {format_time(at.due or 0)} on it is missing"
            return f"not yet at the {at.stage} when {window} was closed; {due}"
        case State.UNCONFIRMED:
            return f"not confirmed at the {at.stage} in {window}, of which there is no data"
        case State.MISSING:
            return f"missing at the {at.stage} in {window}{estimated}, and not recovered"
    ended = f"{at.state} by {format_time(at.ended_at or 0)}"
    return f"missing at the {at.stage} in {window}{estimated}, {ended}"


def _received(record: MessageRecord) -> str:
    if record.received_at is None:
        return "not by busmon, or so long ago that it is no longer on record"
    received = format_time(record.received_at)
    if record.filled:
        return f"not by busmon, which was away; by the archive, sent {received}"
    if record.outcome is None:
        return f"{received}; its record is pruned"
    if record.sent_at is None:
        return f"{received}; when it was sent is not known"
    delay = record.received_at - record.sent_at
    if delay < 0:
        return f"{received}, {format_duration(-delay)} before it was sent, by its publisher's clock"
    return f"{received}, {format_duration(delay)} after it was sent"


def _listener(found: TracedMessage) -> str:
    record = found.record
    if record.report is None or record.reported_at is None:
        return describe_unreported(found.listener)
    task = f" as task {record.task}" if record.task else ""
    text = f"{record.report}{task}, reported {format_time(record.reported_at)}"
    if record.report != "raised":
        return text
    if found.listener.ended is not None:
        return f"{text}; {describe_end(found.listener)}"
    kills = record.outcome == Outcome.ERROR
    return f"{text}; {DEATH[found.listener.queue]}" if kills else text
