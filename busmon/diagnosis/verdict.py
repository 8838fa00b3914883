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

from busmon.diagnosis.facts import (
    BusFacts,
    Facts,
    ListenerFacts,
    SilentTopic,
    TopicFacts,
    WorkerFacts,
)
from busmon.text import format_duration, format_number

MIN_OWED_MESSAGES = 3.0  # of all flowing topics; one time in 20, none comes by chance
MIN_QUEUE_GROWTH = 10  # tasks
MIN_FAILED_TASKS = 5  # and more than succeeded


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


class _Finding(NamedTuple):
    kind: FaultKind
    bus: str
    text: str


def diagnose(facts: Facts) -> Verdict:
    """Return the one verdict."""
    if facts.problem:  # then no other fact is reliable
        return Verdict(FaultKind.BUSMON, "", (f"busmon itself does not work: {facts.problem}",))
    findings = [finding for bus in facts.buses for finding in _findings(bus)]
    unknown = [f"{bus.name}: {text}" for bus in facts.buses for text in _unknown(bus)]
    if not findings:
        return Verdict(FaultKind.NONE, "", (*map(_well, facts.buses), *unknown))
    kinds = list(FaultKind)
    findings.sort(key=lambda finding: kinds.index(finding.kind))  # stable: the first bus first
    kind, name, _ = findings[0]
    evidence, others = [], []
    for finding in findings:
        if (finding.kind, finding.bus) == (kind, name):
            evidence.append(finding.text)
        else:
            others.append(f"also ({finding.kind}): {finding.text}")
    return Verdict(kind, name, (*evidence, *others, *unknown))


def _findings(bus: BusFacts) -> Iterator[_Finding]:
    silence = () if bus.problem else _silence(bus.topics)
    for kind, texts in (
        (FaultKind.BUSMON if bus.own_problem else FaultKind.CONNECTION, _connection(bus)),
        (FaultKind.BUS if _all_silent(bus.topics) else FaultKind.PUBLISHER, silence),
        (FaultKind.LISTENER, _listener(bus.listener, bus.topics.fatal)),
        (FaultKind.WORKERS, _workers(bus.workers)),
    ):
        yield from (_Finding(kind, bus.name, f"{bus.name}: {text}") for text in texts)


def _connection(bus: BusFacts) -> Iterator[str]:
    if bus.problem and bus.own_problem:
        yield f"busmon itself does not receive: {bus.problem}"
    elif bus.problem:
        yield f"the connection is down: {bus.problem}"


def _all_silent(topics: TopicFacts) -> bool:
    """Return whether nothing at all comes, and not only nothing of the silent topics.

    Then the newest message of any topic is about as old as that of the silent topic that
    came last, and messages of the topics that are not silent yet are overdue.
    """
    if not topics.silent or topics.last is None:
        return False
    nothing = topics.last >= min(silent.seconds for silent in topics.silent) / 2
    return nothing and (not topics.flowing or (topics.owed or 0.0) >= MIN_OWED_MESSAGES)


def _silence(topics: TopicFacts) -> Iterator[str]:
    if _all_silent(topics) and topics.last is not None:
        yield (
            f"connected, but no message of any topic has come for {format_duration(topics.last)};"
            f" {format_number(len(topics.silent), 'topic')} silent for too long"
        )
    for silent in sorted(topics.silent, key=lambda silent: silent.seconds):
        yield _silent_topic(silent)
    if topics.silent and not _all_silent(topics):
        yield f"{format_number(topics.flowing, 'other topic')} as usual{_newest(topics)}"


def _silent_topic(silent: SilentTopic) -> str:
    text = f"{silent.topic} has been silent for {format_duration(silent.seconds)}"
    if silent.expected is None or silent.limit is None:
        return f"{text}, longer than its limit"
    expected, limit = _about(silent.expected), _about(silent.limit)
    return f"{text}: {expected} messages were expected, and the limit is {limit}"


def _listener(listener: ListenerFacts, fatal: tuple[str, ...]) -> Iterator[str]:
    found = list(_listener_problems(listener))
    yield from found
    if found and fatal:
        yield f"messages that can kill a listener came in the last 24 h: {', '.join(fatal)}"


def _listener_problems(listener: ListenerFacts) -> Iterator[str]:
    if listener.monitor and listener.monitor.up is False:
        yield (
            "the listener is down or does not consume, according to its monitor:"
            f" {listener.monitor.detail}"
        )
    if listener.stalled:
        yield (
            "the listener says that it consumes, but it received nothing while the bus brought"
            f" {format_number(listener.stalled, 'message')} for it:"
            " its queue or its connection is dead"
        )
    if listener.tap and listener.tap.up is False:
        yield f"the tap in the listener's process does not report: {listener.tap.detail}"
    if listener.passed and listener.passed.missing:
        yield (
            f"the listener did not pass on {listener.passed.missing} of"
            f" {listener.passed.expected} messages of the last windows (busmon gaps)"
        )


def _workers(workers: WorkerFacts) -> Iterator[str]:
    if workers.finished and workers.finished.missing:
        yield (
            f"the workers did not finish {workers.finished.missing} of"
            f" {workers.finished.expected} messages of the last windows that the listener"
            " passed on (busmon gaps)"
        )
    if workers.failed >= MIN_FAILED_TASKS and workers.failed > workers.succeeded:
        yield f"{workers.failed} of {workers.failed + workers.succeeded} recent tasks have failed"
    for queue in workers.queues:
        tasks = format_number(queue.length, "task")
        if queue.stuck:
            yield (
                f"{tasks} waiting in the queue {queue.name},"
                f" and no worker has taken one for {format_duration(queue.stuck)}"
            )
        if queue.grown >= MIN_QUEUE_GROWTH:
            yield (
                f"the queue {queue.name} grows: {tasks} waiting,"
                f" {queue.grown} more than some minutes ago"
            )


def _unknown(bus: BusFacts) -> Iterator[str]:
    """Yield what is not known, and what is wrong without being a fault of anybody."""
    listener, workers = bus.listener, bus.workers
    if listener.monitor and listener.monitor.up is None:
        yield "not yet known: what the listener's monitor says"
    if listener.tap and listener.tap.up is None:
        yield "not yet known: what the tap in the listener reports"
    if workers.celery and not workers.celery.up:
        yield f"nothing is known of the workers: {workers.celery.detail or 'no event yet'}"
    if listener.passed and listener.passed.unexpected:
        yield (
            f"the listener passed on {format_number(listener.passed.unexpected, 'message')}"
            " that busmon's rules ignore: the rules have drifted (busmon trace ID)"
        )


def _well(bus: BusFacts) -> str:
    topics, listener = bus.topics, bus.listener
    parts = [f"connected{_newest(topics)}", f"{format_number(topics.flowing, 'topic')} as usual"]
    if topics.unlearned:
        parts.append(f"{format_number(topics.unlearned, 'topic')} without a baseline yet")
    if listener.monitor is None and listener.tap is None:
        parts.append("its listener is not watched")
    if listener.monitor and listener.monitor.up:
        parts.append("the listener consumes")
    if listener.passed:
        parts.append("it passed on what it should")
    if bus.workers.finished:
        parts.append("the workers keep up")
    return f"{bus.name}: {'; '.join(parts)}"


def _newest(topics: TopicFacts) -> str:
    if topics.last is None:
        return ""
    return f"; the newest message came {format_duration(topics.last)} ago"


def _about(messages: float) -> str:
    return f"{messages:.0f}" if messages >= 10 else f"{messages:.1f}"
