"""`busmon trace`: everything that is known of one message."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from busmon.ledger.messages import MessageRecord
from busmon.ledger.tables import Tables
from busmon.text import format_time, printable

Facts = Mapping[str, Any]  # of one message on one bus; times are Unix seconds


def trace(tables: Tables, identity: str) -> list[Facts]:
    """Return what is known of the message on each bus that has it."""
    return [_facts(tables, identity, record) for record in tables.messages.find(identity)]


def unknown(identity: str, reaches: float | None) -> str:
    """Return what to say of a message that is not on record."""
    record = f"messages since {format_time(reaches)}" if reaches is not None else "no message yet"
    return f"{printable(identity)}: not on record; the ledger holds {record}"


def as_json(found: list[Facts]) -> str:
    """Return the facts as a JSON array, an object for each bus."""
    return json.dumps(found, indent=2)


def as_text(identity: str, found: list[Facts]) -> str:
    """Return the facts for people to read."""
    lines = [printable(identity)]
    for facts in found:
        lines += (f"  {label:<9} {printable(text)}" for label, text in _lines(facts))
    return "\n".join(lines)


def _facts(tables: Tables, identity: str, record: MessageRecord) -> Facts:
    at = record.received_at
    watched = at is not None and tables.coverage.is_covered(f"tap:{record.bus}", at, at)
    missing = [
        {"stage": stage, "window": start, "recovered_at": recovered}
        for stage, start, recovered in tables.open_messages.history(record.bus, identity)
    ]
    return record._asdict() | {"tap_watched": watched, "missing": missing}


def _lines(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "bus", facts["bus"]
    yield "topic", facts["topic"]
    yield "seen", _seen(facts)
    if facts["received_at"] is not None:
        yield "judged", f"{facts['outcome']} {facts['reason']}".rstrip()
    yield "listener", _listener(facts)
    if facts["state"] == "passed":
        yield "worker", _worker(facts)
    for missing in facts["missing"]:
        told = (
            f"missing at the {missing['stage']} in the window of {format_time(missing['window'])}"
        )
        late = missing["recovered_at"]
        yield "audit", told if late is None else f"{told}, recovered by {format_time(late)}"


def _seen(facts: Facts) -> str:
    received, sent = facts["received_at"], facts["sent_at"]
    if received is None:
        return "never by busmon, or longer ago than it remembers"
    if sent is None:
        return f"{format_time(received)}; it does not say when it was sent"
    return f"{format_time(received)}, {received - sent:.3f} s after it was sent"


def _listener(facts: Facts) -> str:
    if facts["state"] is None:
        watched = "although its tap was reporting" if facts["tap_watched"] else "no tap reported"
        return f"not known to have had it: {watched} at that time"
    task = f" as task {facts['task']}" if facts["task"] else ""
    return f"{facts['state']}{task}, reported {format_time(facts['reported_at'])}"


def _worker(facts: Facts) -> str:
    if facts["work"] is None:
        return "no event of the task is known"
    names = {"taken_at": "received", "started_at": "started", "finished_at": "finished"}
    times = [f"{word} {format_time(facts[name])}" for name, word in names.items() if facts[name]]
    retries = [f"retries {facts['retries']}"] if facts["retries"] else []
    return ", ".join([facts["work"], *times, *retries])
