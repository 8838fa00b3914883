"""Whose fault it is: one verdict for each bus from its facts, with its evidence in words.

Messages go from a publisher over the bus and busmon's connection to the listener, and from it to
the workers. What is wrong further up explains what is missing further down. So the most upstream
finding is the verdict, and the others are shown with it. One exception: that some topics are
silent does not explain what is wrong with the messages of the others, so it is the verdict only
if nothing else is wrong. Unknown facts are no evidence against anybody; they are shown as unknown.

Pure functions of `Facts`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from busmon.diagnosis import archive_evidence, evidence, topic_evidence
from busmon.diagnosis.facts import BusFacts, Facts, TopicFacts
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
    findings = list(_findings(bus))
    beside = (*still_open(bus), *evidence.unknown(bus))
    if not findings:
        return Verdict(FaultKind.NONE, (*well_now(bus), evidence.well(bus), *beside))
    kind = findings[0].kind
    texts = (text if of is kind else f"also ({of}): {text}" for of, text in findings)
    return Verdict(kind, (*texts, *beside))


def _findings(bus: BusFacts) -> Iterator[_Finding]:
    """Yield what is wrong, the verdict first."""
    down = FaultKind.BUSMON if bus.own_problem else FaultKind.CONNECTION
    silence = [] if bus.problem else list(_silence(bus.topics))
    partly = not topic_evidence.all_silent(bus.topics)
    yield from (_Finding(down, text) for text in evidence.connection(bus))
    yield from () if partly else silence
    for kind, texts in (
        (FaultKind.LISTENER, evidence.listener(bus.listener, bus.topics.fatal)),
        (FaultKind.WORKERS, evidence.workers(bus.workers)),
    ):
        yield from (_Finding(kind, text) for text in texts)
    yield from silence if partly else ()


def _silence(topics: TopicFacts) -> Iterator[_Finding]:
    """Yield which topics are silent, and whose fault that is by what the archive has of them."""
    losses = list(archive_evidence.losses(topics))
    yield from (_Finding(FaultKind.CONNECTION, text) for text in losses)
    kind = FaultKind.PUBLISHER
    if topic_evidence.all_silent(topics):
        kind = FaultKind.CONNECTION if losses else FaultKind.BUS
    else:
        topics = replace(topics, silent=archive_evidence.not_lost(topics))
    yield from (_Finding(kind, text) for text in topic_evidence.silence(topics))
    yield from (_Finding(kind, text) for text in archive_evidence.confirmation(topics))
    if losses and not topics.silent:
        yield _Finding(FaultKind.CONNECTION, topic_evidence.others(topics))
