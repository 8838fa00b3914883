"""Whose fault it is: one verdict from all that is known, with its evidence in words.

Messages go from a publisher over the bus, busmon's connection and the listener to the
workers. Who is further up explains what is missing further down; so of several findings the
most upstream one is the verdict, and the others stand beside it. Only a publisher that stopped
explains nothing of what comes from the others, and is the verdict where nobody else is at fault.
What is unknown is never held against anybody: it is told as unknown. A pure function of `Facts`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from busmon.text import format_duration, format_number

OWED = 3.0  # messages that other topics should have brought; by chance none comes once in 20 times
BACKLOG = 10  # tasks by which a queue has to have grown
FAILED = 5  # tasks that have to have failed, and most of them


class FaultKind(StrEnum):
    """Whose fault it is, in the order in which they are told."""

    BUSMON = "busmon"  # itself is blind
    CONNECTION = "connection"  # of busmon to a bus
    BUS = "bus"  # connected, and nothing comes at all
    LISTENER = "listener"  # the bus flows, and the listener does not pass on
    WORKERS = "workers"  # passed on, and not done
    PUBLISHER = "publisher"  # some topics are silent, and others flow
    NONE = "none"  # all is well


class Verdict(NamedTuple):
    """The verdict; `bus` is empty where none is at fault or it is about all of them."""

    kind: FaultKind
    bus: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """Whether something lives, and why not; `up` is None where that is unknown."""

    up: bool | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SilentTopic:
    """A topic that has been silent for too long; messages are None where it is a set time."""

    topic: str
    seconds: float  # since its last message
    expected: float | None = None  # messages since then
    limit: float | None = None  # messages


@dataclass(frozen=True, slots=True)
class StageCounts:
    """The books of the windows closed of late; `expected` is what came by at the stage before."""

    expected: int
    missing: int
    unexpected: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of the workers, and by how many tasks it has steadily grown of late."""

    name: str
    length: int
    grown: int
    stuck: float = 0.0  # seconds in which tasks waited all the time, and no worker did any


@dataclass(frozen=True, slots=True, kw_only=True)
class BusFacts:
    """What is known of one bus, its listener and its workers. The default is: nothing."""

    name: str
    problem: str | None = None  # why busmon does not receive
    own_problem: bool = False  # and that is busmon's own doing: it can't record, or has a bug
    last: float | None = None  # seconds since the newest message of any topic
    silent: tuple[SilentTopic, ...] = ()
    flowing: int = 0  # topics that come as usual
    owed: float | None = None  # messages that these should have brought since their last ones
    unlearned: int = 0  # topics of which it is not yet known what is usual
    monitor: Health | None = None  # the listener's own; None: not configured, as below
    stalled: int | None = None  # messages to be handled, while the listener received nothing
    tap: Health | None = None
    listener: StageCounts | None = None
    fatal: tuple[str, ...] = ()  # topics of which came of late what can kill a listener
    celery: Health | None = None
    workers: StageCounts | None = None
    queues: tuple[Queue, ...] = ()
    failed: int = 0  # tasks of late
    succeeded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known just now."""

    problem: str | None = None  # why busmon can't do its work on any bus
    buses: tuple[BusFacts, ...] = ()


class _Finding(NamedTuple):
    kind: FaultKind
    bus: str
    text: str


def diagnose(facts: Facts) -> Verdict:
    """Return the one verdict."""
    if facts.problem:  # nothing else can be believed
        return Verdict(FaultKind.BUSMON, "", (f"busmon itself is blind: {facts.problem}",))
    findings = [finding for bus in facts.buses for finding in _findings(bus)]
    unknown = [text for bus in facts.buses for text in _unknown(bus)]
    if not findings:
        return Verdict(FaultKind.NONE, "", (*map(_well, facts.buses), *unknown))
    kinds = list(FaultKind)
    findings.sort(key=lambda finding: kinds.index(finding.kind))  # stable: the first bus first
    kind, name, _ = findings[0]
    evidence, beside = [], []
    for finding in findings:
        if (finding.kind, finding.bus) == (kind, name):
            evidence.append(finding.text)
        else:
            beside.append(f"beside that ({finding.kind}): {finding.text}")
    return Verdict(kind, name, (*evidence, *beside, *unknown))


def _findings(bus: BusFacts) -> Iterator[_Finding]:
    for kind, texts in (
        (FaultKind.BUSMON if bus.own_problem else FaultKind.CONNECTION, _connection(bus)),
        (FaultKind.BUS if _whole(bus) else FaultKind.PUBLISHER, _silence(bus)),
        (FaultKind.LISTENER, _listener(bus)),
        (FaultKind.WORKERS, _workers(bus)),
    ):
        yield from (_Finding(kind, bus.name, f"{bus.name}: {text}") for text in texts)


def _connection(bus: BusFacts) -> Iterator[str]:
    if bus.problem and bus.own_problem:
        yield f"busmon does not receive, by its own fault: {bus.problem}"
    elif bus.problem:
        yield f"the connection is down: {bus.problem}"


def _whole(bus: BusFacts) -> bool:
    """Tell whether nothing at all comes, and not only the silent topics.

    Then the newest message of any topic is about as old as that of the silent topic that
    came last, and the topics that are not silent yet should have brought something since.
    """
    if not bus.silent or bus.last is None:
        return False
    nothing = bus.last >= min(silent.seconds for silent in bus.silent) / 2
    return nothing and (not bus.flowing or (bus.owed or 0.0) >= OWED)


def _silence(bus: BusFacts) -> Iterator[str]:
    if bus.problem or not bus.silent:
        return
    if _whole(bus) and bus.last is not None:
        yield (
            f"connected, but no message of any topic has come for {format_duration(bus.last)};"
            f" silent for too long are already {format_number(len(bus.silent), 'topic')}"
        )
    for silent in sorted(bus.silent, key=lambda silent: silent.seconds):
        yield _told(silent)
    if not _whole(bus):
        yield f"{format_number(bus.flowing, 'other topic')} as usual{_newest(bus)}"


def _told(silent: SilentTopic) -> str:
    text = f"{silent.topic} has been silent for {format_duration(silent.seconds)}"
    if silent.expected is None or silent.limit is None:
        return f"{text}, longer than it may be"
    return (
        f"{text}: {_about(silent.expected)} messages should have come since,"
        f" and up to {_about(silent.limit)} would be by chance"
    )


def _listener(bus: BusFacts) -> Iterator[str]:
    found = list(_listener_problems(bus))
    yield from found
    if found and bus.fatal:
        yield f"messages that can kill a listener came of late: {', '.join(bus.fatal)}"


def _listener_problems(bus: BusFacts) -> Iterator[str]:
    if bus.monitor and bus.monitor.up is False:
        yield f"the listener is down or does not consume, by its own monitor: {bus.monitor.detail}"
    if bus.stalled:
        yield (
            f"the listener says that it consumes, but received nothing while the bus brought"
            f" {format_number(bus.stalled, 'message')} for it: its queue or its connection is dead"
        )
    if bus.tap and bus.tap.up is False:
        yield f"the tap in the listener's process is silent: {bus.tap.detail}"
    if bus.listener and bus.listener.missing:
        yield (
            f"the listener did not pass on {bus.listener.missing} of {bus.listener.expected}"
            " messages of the last windows (busmon gaps)"
        )


def _workers(bus: BusFacts) -> Iterator[str]:
    if bus.workers and bus.workers.missing:
        yield (
            f"the workers did not finish {bus.workers.missing} of {bus.workers.expected} messages"
            " of the last windows that the listener passed on (busmon gaps)"
        )
    if bus.failed >= FAILED and bus.failed > bus.succeeded:
        yield f"{bus.failed} of {bus.failed + bus.succeeded} tasks of late have failed"
    for queue in bus.queues:
        if queue.stuck:
            yield (
                f"{format_number(queue.length, 'task')} waiting in the queue {queue.name},"
                f" and no worker has taken one for {format_duration(queue.stuck)}"
            )
        if queue.grown >= BACKLOG:
            yield (
                f"the queue {queue.name} grows: {format_number(queue.length, 'task')} waiting,"
                f" {queue.grown} more than some minutes ago"
            )


def _unknown(bus: BusFacts) -> Iterator[str]:
    """Yield what is to be known and is not, and what is wrong without being anybody's fault."""
    if bus.monitor and bus.monitor.up is None:
        yield f"{bus.name}: not yet known: what the listener's monitor says"
    if bus.tap and bus.tap.up is None:
        yield f"{bus.name}: not yet known: what the tap in the listener reports"
    if bus.celery and not bus.celery.up:
        yield f"{bus.name}: nothing is known of the workers: {bus.celery.detail or 'no event yet'}"
    if bus.listener and bus.listener.unexpected:
        yield (
            f"{bus.name}: the listener passed on"
            f" {format_number(bus.listener.unexpected, 'message')}"
            " that busmon's rules ignore: the rules have drifted (busmon trace ID)"
        )


def _well(bus: BusFacts) -> str:
    parts = [f"connected{_newest(bus)}", f"{format_number(bus.flowing, 'topic')} as usual"]
    if bus.unlearned:
        topics = format_number(bus.unlearned, "topic")
        parts.append(f"{topics} of which it is not known yet what is usual")
    if bus.monitor is None and bus.tap is None:
        parts.append("its listener is not watched")
    if bus.monitor and bus.monitor.up:
        parts.append("the listener consumes")
    if bus.listener:
        parts.append("it passed on what it should")
    if bus.workers:
        parts.append("the workers keep up")
    return f"{bus.name}: {'; '.join(parts)}"


def _newest(bus: BusFacts) -> str:
    return "" if bus.last is None else f"; the newest message came {format_duration(bus.last)} ago"


def _about(messages: float) -> str:
    return f"{messages:.0f}" if messages >= 10 else f"{messages:.1f}"
