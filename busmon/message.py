"""What travels through busmon: one message of a bus, and what is said of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What becomes of a message at the listener; every message has exactly one."""

    HANDLED = "handled"  # the listener passes it on to the worker
    IGNORED = "ignored"  # the listener's filter drops it; the reason says which
    UNMAPPED = "unmapped"  # the listener has no rule for its topic
    INVALID = "invalid"  # rejected before the listener sees it
    ERROR = "error"  # it can kill the listener


class Stage(StrEnum):
    """Where a message has been."""

    BUS = "bus"  # busmon received it, and the rules judge it handled
    LISTENER = "listener"  # the tap reported that the listener passed it on
    WORKER = "worker"  # Celery's events say that its task finished


@dataclass(frozen=True, slots=True)
class Judgement:
    """An outcome and why: `reason` is a fixed slug, empty where the outcome says it all."""

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as it came from a bus. Times are Unix seconds.

    `id` is the identity by which a redelivery is told. Where the protocol has none,
    the source makes one from a digest of the content and sets `digest_id`: such an id
    may come again for another message, and only `redelivered` makes it the same.
    `rejected` is the verdict of a message that never reaches a rule, since its source
    could not make a body of it. `size` is the body's, in bytes, as it was on the wire.
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

    def get(self, *keys: str) -> Any:
        """Return the nested value of the body under `keys`, or None where there is none."""
        value = self.body
        for key in keys:
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return value
