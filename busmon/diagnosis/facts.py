"""What is known of the buses, the listener and the workers: the input of the verdict.

The default of each field is: nothing is known.
"""

from dataclasses import dataclass

from busmon.archive.opinion import Comparison, Opinion
from busmon.ledger.differences import Difference
from busmon.message import Stage
from busmon.sources.listener_queue import ListenerQueue, QueueState


@dataclass(frozen=True, slots=True)
class Health:
    """Whether something works, and why not; `up` is None if that is unknown."""

    up: bool | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SilentTopic:
    """A topic that has been silent for too long; messages are None if the limit is a time."""

    topic: str
    seconds: float  # since its last message; if none ever came, since busmon has waited for it
    expected: float | None = None  # messages since then
    limit: float | None = None  # messages
    together: bool = False  # it became silent about when others did
    came: bool = True  # whether a message ever came
    within: float | None = None  # seconds in which one was expected, if the limit is a time
    archive: Opinion | None = None  # None: it is not asked


@dataclass(frozen=True, slots=True)
class LowTopic:
    """A topic of which too few messages come."""

    topic: str
    deficit: float  # messages below the least that is usual
    limit: float  # messages
    archive: Comparison | None = None  # None: it is not asked, or has not answered


@dataclass(frozen=True, slots=True)
class StageCounts:
    """Messages of the last closed windows at one stage."""

    expected: int  # that reached the stage before
    missing: int
    unexpected: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of the workers."""

    name: str
    length: int
    grown: int  # tasks, steadily over the last minutes
    stuck: float = 0.0  # seconds in which tasks waited all the time, and their number never fell


@dataclass(frozen=True, slots=True)
class FailingTask:
    """A task of which more have recently failed than succeeded."""

    name: str
    failed: int
    succeeded: int


@dataclass(frozen=True, slots=True)
class FoundQueue:
    """A queue that the listener's file names, as the broker says it is."""

    name: str
    state: QueueState
    # Seconds from the first look that found it gone or unused to the last; None: it is neither.
    wrong: float | None = None
    ever: bool = True  # whether it was ever there
    # Seconds since the first of some looks, at each of which no fewer messages waited beside a
    # consumer than at the one before, and how many more than at the first.
    waiting: float = 0.0
    grown: int = 0


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What the broker says of the listener's queues."""

    health: Health
    queues: tuple[FoundQueue, ...] = ()  # none while the broker does not say it


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFacts:
    """What the topics of a bus do."""

    last: float | None = None  # seconds since the newest message of any topic
    silent: tuple[SilentTopic, ...] = ()
    flowing: int = 0  # topics that come as usual
    overdue: float | None = None  # messages expected of these since their last ones
    unlearned: int = 0  # topics that have no baseline yet
    low: tuple[LowTopic, ...] = ()
    campaigns: tuple[str, ...] = ()  # topics for which nothing is usual
    fatal: tuple[tuple[str, float], ...] = ()  # topics of recent messages that can kill a listener,
    # each with the seconds since its newest one


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerFacts:
    """What is known of the listener. A Health is None if that observer is not configured."""

    monitor: Health | None = None
    stalled: int = 0  # messages for the listener, while it received nothing
    standing: float = 0.0  # seconds without a message at the listener, by its monitor
    tap: Health | None = None
    passed: StageCounts | None = None  # None: not audited, or no data
    queue: ListenerQueue = ListenerQueue.UNKNOWN
    at_broker: QueueFacts | None = None  # of its queues


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """What is known of the workers behind a listener."""

    celery: Health | None = None  # None: not configured
    finished: StageCounts | None = None  # None: not audited, or no data
    handled: StageCounts | None = None  # the same, of the tasks behind
    queues: tuple[Queue, ...] = ()
    failing: tuple[FailingTask, ...] = ()


@dataclass(frozen=True, slots=True)
class LostMessages:
    """Messages that are missing at a stage, and were neither recovered nor accepted."""

    stage: Stage
    messages: int
    oldest: float  # Unix time at which the oldest window with one began


@dataclass(frozen=True, slots=True, kw_only=True)
class BusFacts:
    """What is known of one bus, its listener and its workers."""

    name: str
    problem: str | None = None  # why busmon does not receive
    own_problem: bool = False  # the problem is busmon's own: it cannot record, or has a bug
    cut_off: str | None = None  # why this busmon does not receive, if others with its ledger do
    topics: TopicFacts = TopicFacts()
    listener: ListenerFacts = ListenerFacts()
    workers: WorkerFacts = WorkerFacts()
    lost: tuple[LostMessages, ...] = ()
    windows: int = 0  # that have lost messages
    unconfirmed: tuple[tuple[Stage, int], ...] = ()  # messages of times without data
    differences: tuple[Difference, ...] = ()  # from the archive, on the last day


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known now."""

    problem: str | None = None  # why busmon cannot work on any bus
    buses: tuple[BusFacts, ...] = ()
