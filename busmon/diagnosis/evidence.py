"""The evidence for a verdict in words: what is wrong, what is unknown, what is well."""

from collections.abc import Iterable, Iterator, Sequence

from busmon.diagnosis import archive_evidence
from busmon.diagnosis.facts import (
    BusFacts,
    FailingTask,
    FoundQueue,
    ListenerFacts,
    QueueFacts,
    StageCounts,
    WorkerFacts,
)
from busmon.diagnosis.topic_evidence import low, newest
from busmon.sources.listener_queue import DEATH, DOWN, ListenerQueue
from busmon.text import format_age, format_duration, format_number

MIN_QUEUE_GROWTH = 10  # tasks, or messages
# From the first look that finds a queue wrong to one that still does: until then, the listener
# may be restarting. With a look each minute, a dead one is found within two.
RESTART_SECONDS = 60.0
MIN_FAILED = 5  # tasks or messages, if at least half of them failed; some always fail
SHOWN_NAMES = 5


def connection(bus: BusFacts) -> Iterator[str]:
    """Yield why busmon does not receive."""
    if bus.problem and bus.own_problem:
        yield f"busmon itself does not receive: {bus.problem}"
    elif bus.problem:
        yield f"the connection is down: {bus.problem}"


def listener(facts: ListenerFacts, fatal: Iterable[tuple[str, float]]) -> Iterator[str]:
    """Yield what the listener does not do. `fatal` is as in TopicFacts."""
    queues = [text for queue in _queues(facts) for text in _queue_problems(queue, facts)]
    found = [*_listener_problems(facts), *queues]
    yield from found
    used = [] if queues else list(filter(_in_use, _queues(facts)))
    there = used and facts.queue is ListenerQueue.TEMPORARY  # so it is not gone
    if _is_down(facts) and not queues and not there:
        yield f"while the listener is down, {DOWN[facts.queue]}"
    if _is_down(facts) or facts.stalled:
        for queue in used:
            yield (
                f"{_use(queue)} {queue.name} at the last look: the listener is connected, its"
                " connection is dead and the broker had not noticed it, or it died since"
            )
    came = ", ".join(f"{topic} {format_age(seconds)}" for topic, seconds in fatal)
    if found and came:
        yield (
            f"messages that can kill a listener came in the last 24 h: {came};"
            f" if one does, {DEATH[facts.queue]}"
        )


def _is_down(facts: ListenerFacts) -> bool:
    """Return whether the listener is down, as far as is known; its own monitor knows best."""
    watch = facts.monitor if facts.monitor and facts.monitor.up is not None else facts.tap
    return watch is not None and watch.up is False


def _listener_problems(facts: ListenerFacts) -> Iterator[str]:
    if facts.monitor and facts.monitor.up is False:
        yield (
            "the listener is down or does not consume, according to its monitor:"
            f" {facts.monitor.detail}"
        )
    if facts.stalled:
        yield (
            "the listener says that it consumes, but it received nothing while the bus brought"
            f" {format_number(facts.stalled, 'message')} for it:"
            " its queue or its connection is dead"
        )
    if facts.tap and facts.tap.up is False:
        known = facts.monitor and facts.monitor.up is not None
        silent = "the tap in the listener's process does not report"
        down = "the listener is down, or its tap cannot reach busmon"
        yield f"{silent if known else down}: {facts.tap.detail}"
    if facts.passed and facts.passed.missing:
        missing, expected = facts.passed.missing, facts.passed.expected
        number = f"{missing} of {expected}" if missing < expected else f"{missing}"
        estimated = "" if facts.tap else ", known to a minute"
        yield (
            f"the listener did not pass on {number} messages of the last windows{estimated}"
            " (busmon gaps)"
        )


def _queues(facts: ListenerFacts) -> tuple[FoundQueue, ...]:
    """Return those of the listener's queues that were ever there."""
    queues = facts.at_broker.queues if facts.at_broker else ()
    return tuple(queue for queue in queues if queue.ever)


def _is_stuck(queue: FoundQueue, facts: ListenerFacts) -> bool:
    """Return whether the queue grew, while its consumer received nothing."""
    return RESTART_SECONDS <= queue.waiting <= facts.standing and queue.grown > 0


def _queue_problems(queue: FoundQueue, facts: ListenerFacts) -> Iterator[str]:
    if _is_stuck(queue, facts):
        waiting = format_number(queue.state.messages or 0, "message")
        yield (
            f"{waiting} waiting in the listener's queue {queue.name},"
            f" {queue.grown} more than {format_age(queue.waiting)}, and the listener received"
            f" nothing for {format_duration(facts.standing)}: it hangs, or its connection is dead"
        )
    if queue.wrong is None or queue.wrong < RESTART_SECONDS:
        return
    seconds = format_duration(queue.wrong)
    if queue.state.there:
        waiting = format_number(queue.state.messages or 0, "message")
        yield (
            f"nobody has consumed from the listener's queue {queue.name} for {seconds}:"
            f" the listener is down; its queue holds {waiting}"
        )
    else:
        yield (
            f"the listener's queue {queue.name} has been gone for {seconds}, and new messages are"
            " lost: the listener is down, or its queue was deleted"
        )


def _in_use(queue: FoundQueue) -> bool:
    return queue.state.held or bool(queue.state.consumers)


def _use(queue: FoundQueue) -> str:
    consumers = format_number(queue.state.consumers or 0, "consumer")
    return "a connection holds its queue" if queue.state.held else f"{consumers} on its queue"


def workers(facts: WorkerFacts) -> Iterator[str]:
    """Yield what the workers do not do."""
    unfinished = facts.finished is not None and facts.finished.missing > 0
    if facts.finished and unfinished:
        yield (
            f"the workers did not finish {facts.finished.missing} of"
            f" {facts.finished.expected} messages of the last windows that the listener"
            " passed on (busmon gaps)"
        )
    if (handled := facts.handled) and handled.missing >= max(MIN_FAILED, handled.expected / 2):
        yield _unhandled(handled)
    if sum(task.failed for task in facts.failing) >= MIN_FAILED:
        yield f"recent tasks have failed: {', '.join(_failing(facts.failing))}"
    for queue in facts.queues:
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
        elif unfinished and queue.length and not queue.stuck:
            yield f"{tasks} waiting in the queue {queue.name}"


def _unhandled(handled: StageCounts) -> str:
    return (
        f"the tasks behind {handled.missing} of {handled.expected} messages of the last windows"
        " failed or did not end (busmon gaps)"
    )


def _failing(tasks: Sequence[FailingTask]) -> Iterator[str]:
    worst = sorted(tasks, key=lambda task: -task.failed)
    for task in worst[:SHOWN_NAMES]:
        yield f"{task.failed} of {task.failed + task.succeeded} {task.name}"


def unknown(bus: BusFacts) -> Iterator[str]:
    """Yield what is not known, and what is wrong without being anybody's fault."""
    monitor, tap, passed = bus.listener.monitor, bus.listener.tap, bus.listener.passed
    celery = bus.workers.celery
    if bus.cut_off:
        yield f"only other busmons receive from it: this one's connection is down: {bus.cut_off}"
    yield from low(bus.topics)
    yield from archive_evidence.comparisons(bus.topics)
    yield from archive_evidence.differences(bus.differences)
    if not bus.problem:
        yield from archive_evidence.unknown(bus.topics)
    if monitor and monitor.up is None:
        yield "not yet known: what the listener's monitor says"
    if tap and tap.up is None:
        yield f"nothing is known of what the listener passes on; {tap.detail or 'no report yet'}"
    if bus.listener.at_broker and not bus.problem:
        yield from _unknown_queues(bus.listener.at_broker)
        yield from _growing_queues(bus.listener)
    if celery and not celery.up:
        yield f"nothing is known of the workers: {celery.detail or 'no event yet'}"
    if passed and passed.unexpected:
        yield (
            f"the listener passed on {format_number(passed.unexpected, 'message')}"
            " that busmon's rule set ignores: the rule set is out of date (busmon trace ID)"
        )


def _unknown_queues(facts: QueueFacts) -> Iterator[str]:
    if facts.health.up is False:
        yield f"nothing is known of the listener's queue; {facts.health.detail}"
    for queue in facts.queues:
        if not queue.ever:
            yield (
                f"nothing is known of the listener's queue; {queue.name}, which its file names,"
                " was never there"
            )
        elif queue.wrong is not None and queue.wrong < RESTART_SECONDS:
            what = "nobody consumes from" if queue.state.there else "the broker no longer has"
            yield f"{what} the listener's queue {queue.name}: the listener may be restarting"


def _growing_queues(facts: ListenerFacts) -> Iterator[str]:
    for queue in _queues(facts):
        if queue.grown >= MIN_QUEUE_GROWTH and not _is_stuck(queue, facts):
            waiting = format_number(queue.state.messages or 0, "message")
            yield (
                f"{waiting} waiting in the listener's queue {queue.name}, {queue.grown} more than"
                f" {format_age(queue.waiting)}: the listener is slower than the bus, or hangs"
            )


def well(bus: BusFacts) -> str:
    """Return what is known of a bus on which all is well."""
    topics, facts = bus.topics, bus.listener
    parts = [f"connected{newest(topics)}"]
    if topics.flowing:
        parts.append(f"{format_number(topics.flowing, 'topic')} as usual")
    if topics.unlearned:
        parts.append(f"{format_number(topics.unlearned, 'topic')} without a baseline yet")
    if facts.monitor is None and facts.tap is None and not _queues(facts):
        parts.append("its listener is not watched")
    if facts.monitor and facts.monitor.up:
        parts.append("the listener consumes")
    parts += map(_use, filter(_in_use, _queues(facts)))
    if facts.passed and (facts.tap is None or facts.tap.up):
        parts.append("it passed on what it should")
    if (handled := bus.workers.handled) and handled.missing:
        parts.append(_unhandled(handled))
    elif bus.workers.finished:
        parts.append("the workers keep up")
    return "; ".join(parts)
