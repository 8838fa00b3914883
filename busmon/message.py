"""One message of a bus, and what is said about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple, get_args


class Outcome(StrEnum):
    """What the listener does with a message. Every message has exactly one outcome."""

    HANDLED = "handled"  # the listener passes it on to the worker
    IGNORED = "ignored"  # the listener's filter drops it; the reason says which
    UNMAPPED = "unmapped"  # the listener has no rule for its topic
    INVALID = "invalid"  # rejected before the listener sees it
    ERROR = "error"  # the listener can die of it, or busmon cannot judge it


class Stage(StrEnum):
    """Where a message has been."""

    BUS = "bus"  # busmon received it, or the archive had it, and the rules judge it handled
    LISTENER = "listener"  # the tap reported that the listener passed it on
    WORKER = "worker"  # Celery's events say that its task finished
    HANDLERS = "handlers"  # all tasks of its tree have succeeded, or none was needed


GapStage = Literal["listener", "worker", "handlers"]  # at which a message can be missing
GAP_STAGES = tuple(map(Stage, get_args(GapStage)))


class Topic(NamedTuple):
    """A topic of a bus."""

    bus: str
    name: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """An outcome and its reason: a fixed slug, empty if the outcome needs none."""

    outcome: Outcome
    reason: str = ""


# busmon does not know what the listener does with such a message: reading it would take too much
# memory or CPU time. The audit expects nothing of it.
TOO_LARGE = Judgement(Outcome.ERROR, "too-large")
TOO_COSTLY = Judgement(Outcome.ERROR, "too-costly")
UNJUDGED = frozenset({TOO_LARGE.reason, TOO_COSTLY.reason})


class Message(NamedTuple):
    """One message as it came from a bus. Times are Unix seconds.

    `id` identifies the message across redeliveries. If the protocol has no id, the source
    makes one from a digest of the content and sets `digest_id`. Another message can have the
    same digest: it is the same message only if `redelivered` is set.
    A message without a body has one of two judgements. `rejected`: something before the listener
    decides, so no rule sees it. `unreadable`: what is wrong with a body of plain JSON; what the
    listener does then is for the rule set to say. `size` is the size of the body in bytes, as it
    was on the wire.
    `unknown_schema`: it names a schema that is not installed, so it was not checked by that.
    """

    bus: str
    id: str
    topic: str
    received_at: float
    sent_at: float | None = None
    body: Any = None
    size: int = 0
    redelivered: bool = False
    digest_id: bool = False
    rejected: Judgement | None = None
    unreadable: Judgement | None = None
    unknown_schema: bool = False

    def get(self, *keys: str) -> Any:
        """Return the nested value of the body under `keys`, or None if there is none."""
        value = self.body
        for key in keys:
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return value
