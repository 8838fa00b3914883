"""The first page: how each bus is, why, and what to do next."""

from collections.abc import Iterator, Mapping
from typing import Any

from busmon.diagnosis.bus import lost_messages
from busmon.diagnosis.incident_text import evidence, times
from busmon.diagnosis.verdict import FaultKind
from busmon.ledger.batch import last_received
from busmon.ledger.errors import LedgerError
from busmon.ledger.incidents import Incident
from busmon.sources import schema_packages
from busmon.web.graph import Graph
from busmon.web.pages.graphs import bus_graphs
from busmon.web.pages.page import Request
from busmon.web.pages.rates import bus_rates
from busmon.web.pages.state import state_of

DAY_SECONDS = 86400.0

MEANING = {
    FaultKind.NONE: "No fault is known",
    FaultKind.BUSMON: "Fault: busmon itself",
    FaultKind.CONNECTION: "Fault: the connection to the bus",
    FaultKind.BUS: "Fault: the whole bus",
    FaultKind.PUBLISHER: "Fault: a publisher",
    FaultKind.LISTENER: "Fault: the listener (at Packit packit-service-fedmsg)",
    FaultKind.WORKERS: "Fault: the workers",
}
RUNBOOK = {  # the part that says what to do
    FaultKind.BUSMON: "busmondown",
    FaultKind.CONNECTION: "busmonbusdisconnected",
    FaultKind.BUS: "busmonalltopicssilent",
    FaultKind.PUBLISHER: "busmontopicsilent",
    FaultKind.LISTENER: "busmonlistenerdown",
    FaultKind.WORKERS: "busmonworkergap",
}
COMMANDS = {
    FaultKind.LISTENER: "busmon gaps --bus {bus}",
    FaultKind.WORKERS: "busmon gaps --bus {bus}",
}


def data(request: Request) -> dict[str, object]:
    """Return what the page shows."""
    found = request.diagnosis
    retired = request.service.parts.silence.retired(request.now)
    graphs, rates, unread = _recorded(request)
    return {
        "problems": list(request.service.problems()),
        "unread": unread,
        "buses": [
            _bus(request, bus) | {"rate": rates.get(bus), "graph": graphs.get(bus)}
            for bus in found.verdicts
        ],
        "removed": [
            {"bus": bus, "messages": found.lost[bus]}
            for bus in sorted(found.lost.keys() - found.verdicts.keys())
        ],
        "incidents": [_incident(one, request.now) for one in reversed(found.incidents)],
        "retired": [
            {"bus": topic.bus, "topic": topic.name, "since": since, "last": last}
            for topic, since, last in retired
        ],
        "schemas": schema_packages.describe(),
    }


def _recorded(
    request: Request,
) -> tuple[Mapping[str, Graph], Mapping[str, object], str | None]:
    """Return the graph and the rate of each bus, or why the ledger cannot be read.

    Then the page shows all that is in memory.
    """
    try:
        with request.read() as tables:
            return bus_graphs(request, tables), bus_rates(request, tables), None
    except LedgerError as error:
        return {}, {}, str(error)


def _bus(request: Request, bus: str) -> dict[str, Any]:
    parts, verdict = request.service.parts, request.diagnosis.verdicts[bus]
    received = last_received(parts.ledger.counts()).items()
    connection, midnight = parts.connections[bus], request.now // DAY_SECONDS * DAY_SECONDS
    blind = parts.blind_time.reception(bus).blind_between(midnight, request.now)
    return {
        "bus": bus,
        "state": state_of(request, bus)._asdict(),
        "verdict": verdict.kind.value,
        "meaning": MEANING[verdict.kind],
        "since": None if verdict.kind is FaultKind.NONE else verdict.since,
        "evidence": list(verdict.evidence),
        "runbook": RUNBOOK.get(verdict.kind),
        "command": COMMANDS.get(verdict.kind, "busmon status").format(bus=bus),
        "connected": connection.connected,
        "problem": connection.problem(),
        "newest": max((at for (of, _), at in received if of == bus), default=None),
        "blind_seconds_today": sum(span.until - max(span.since, midnight) for span in blind),
        "open_gaps": [
            {"stage": lost.stage.value, "messages": lost.messages, "oldest": lost.oldest}
            for lost in lost_messages(parts.auditor.open_gaps(), bus)
        ],
        "topics": list(_topics(request, bus)),
    }


def _topics(request: Request, bus: str) -> Iterator[dict[str, object]]:
    """Yield the topics of which too few messages come, or none."""
    for topic, state in request.silence.items():
        if topic.bus == bus and (state.silent or state.low):
            kind = "silent" if state.silent else "low"
            yield {"topic": topic.name, "state": kind, "since": state.since}


def _incident(one: Incident, now: float) -> dict[str, object]:
    return {
        "bus": one.bus,
        "kind": one.kind,
        "began": one.began,
        "times": times(one, now),
        "evidence": list(evidence(one)),
    }
