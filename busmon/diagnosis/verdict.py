"""Whose fault it is: one verdict for each bus from its facts, with its evidence in words.

Messages go from a publisher over the bus and busmon's connection to the listener, and from it to
the workers. What is wrong further up explains what is missing further down. So the most upstream
finding is the verdict, and the others are shown with it. One exception: a silent publisher does
not explain what is wrong with the messages of the others, so it is the verdict only if nothing
else is wrong. Unknown facts are no evidence against anybody; they are shown as unknown.

Pure functions of `Facts`.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from busmon.diagnosis import evidence, topic_evidence
from busmon.diagnosis.facts import BusFacts, Facts
from busmon.diagnosis.open_messages import still_open, well_now


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
    """The verdict on one bus."""

    kind: FaultKind
    evidence: tuple[str, ...]
    since: float | None = None  # Unix time since when it holds; None: not known


class _Finding(NamedTuple):
    kind: FaultKind
    text: str


def diagnose(facts: Facts) -> dict[str, Verdict]:
    """Return the verdict on each bus, by its name."""
    if facts.problem:
        return busmon_is_at_fault(facts.problem, (bus.name for bus in facts.buses))
    return {bus.name: _verdict(bus) for bus in facts.buses}


def busmon_is_at_fault(problem: str, buses: Iterable[str]) -> dict[str, Verdict]:
    """Return the verdict on these buses if busmon itself does not work: no fact is reliable."""
    evidence = (f"busmon itself does not work: {problem}",)
    return dict.fromkeys(buses, Verdict(FaultKind.BUSMON, evidence))


def worst(verdicts: Iterable[Verdict]) -> FaultKind:
    """Return the most upstream kind of these verdicts; without any, all is well."""
    kinds = {verdict.kind for verdict in verdicts}
    return next(kind for kind in FaultKind if kind in {*kinds, FaultKind.NONE})


def _verdict(bus: BusFacts) -> Verdict:
    order = list(FaultKind)
    findings = sorted(_findings(bus), key=lambda finding: order.index(finding.kind))
    beside = (*still_open(bus), *evidence.unknown(bus))
    if not findings:
        return Verdict(FaultKind.NONE, (*well_now(bus), evidence.well(bus), *beside))
    kind = findings[0].kind
    texts = (text if of is kind else f"also ({of}): {text}" for of, text in findings)
    return Verdict(kind, (*texts, *beside))


def _findings(bus: BusFacts) -> Iterator[_Finding]:
    silence = () if bus.problem else topic_evidence.silence(bus.topics)
    for kind, texts in (
        (FaultKind.BUSMON if bus.own_problem else FaultKind.CONNECTION, evidence.connection(bus)),
        (FaultKind.BUS if topic_evidence.all_silent(bus.topics) else FaultKind.PUBLISHER, silence),
        (FaultKind.LISTENER, evidence.listener(bus.listener, bus.topics.fatal)),
        (FaultKind.WORKERS, evidence.workers(bus.workers)),
    ):
        yield from (_Finding(kind, text) for text in texts)
