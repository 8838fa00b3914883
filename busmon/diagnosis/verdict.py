"""Whose fault it is: one verdict from all facts, with its evidence in words.

Messages go from a publisher over the bus and busmon's connection to the listener, and from it to
the workers. What is wrong further up explains what is missing further down. So the most upstream
finding is the verdict, and the others are shown with it. One exception: a silent publisher does
not explain what is wrong with the messages of the others, so it is the verdict only if nothing
else is wrong. Unknown facts are no evidence against anybody; they are shown as unknown.

Pure functions of `Facts`.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from busmon.diagnosis import evidence
from busmon.diagnosis.facts import BusFacts, Facts


class FaultKind(StrEnum):
    """Whose fault it is; the first of several is the verdict."""

    BUSMON = "busmon"  # it cannot do its work
    CONNECTION = "connection"  # of busmon to a bus
    BUS = "bus"  # connected, and nothing comes at all
    LISTENER = "listener"  # the bus flows, and the listener does not pass messages on
    WORKERS = "workers"  # messages are passed on, and not finished
    PUBLISHER = "publisher"  # some topics are silent, and others flow
    NONE = "none"  # all is well


class Verdict(NamedTuple):
    """The verdict; `bus` is empty if all is well, or if it concerns all buses."""

    kind: FaultKind
    bus: str
    evidence: tuple[str, ...]
    since: float | None = None  # Unix time since when busmon has seen it; None: not known


class _Finding(NamedTuple):
    kind: FaultKind
    bus: str
    text: str


def diagnose(facts: Facts) -> Verdict:
    """Return the one verdict."""
    if facts.problem:  # then no other fact is reliable
        return Verdict(FaultKind.BUSMON, "", (f"busmon itself does not work: {facts.problem}",))
    findings = [finding for bus in facts.buses for finding in _findings(bus)]
    unknown = [f"{bus.name}: {text}" for bus in facts.buses for text in evidence.unknown(bus)]
    if not findings:
        return Verdict(FaultKind.NONE, "", (*map(evidence.well, facts.buses), *unknown))
    kinds = list(FaultKind)
    findings.sort(key=lambda finding: kinds.index(finding.kind))  # stable: the first bus first
    kind, name, _ = findings[0]
    found, others = [], []
    for finding in findings:
        if (finding.kind, finding.bus) == (kind, name):
            found.append(finding.text)
        else:
            others.append(f"also ({finding.kind}): {finding.text}")
    return Verdict(kind, name, (*found, *others, *unknown))


def _findings(bus: BusFacts) -> Iterator[_Finding]:
    silence = () if bus.problem else evidence.silence(bus.topics)
    for kind, texts in (
        (FaultKind.BUSMON if bus.own_problem else FaultKind.CONNECTION, evidence.connection(bus)),
        (FaultKind.BUS if evidence.all_silent(bus.topics) else FaultKind.PUBLISHER, silence),
        (FaultKind.LISTENER, evidence.listener(bus.listener, bus.topics.fatal)),
        (FaultKind.WORKERS, evidence.workers(bus.workers)),
    ):
        yield from (_Finding(kind, bus.name, f"{bus.name}: {text}") for text in texts)
