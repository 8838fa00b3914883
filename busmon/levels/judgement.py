"""Whether a message reached a stage within the bound of a service level. Pure functions."""

from enum import StrEnum
from typing import Protocol

from busmon.ledger.messages import FINISHED
from busmon.ledger.service_levels import HandledMessage
from busmon.ledger.trees import TreeProgress
from busmon.metrics.delays import MAX_DELAY_SECONDS
from busmon.settings.service_level import ServiceLevel

# Of the second, nobody knows whether it has more tasks, which may not have ended.
ENDED_TREES = {TreeProgress.SUCCEEDED, TreeProgress.UNSEEN}


class Within(StrEnum):
    """Whether it was within the bound."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"  # busmon or an observer did not watch all the time


class Watched(Protocol):
    """When the observers of a bus watched without a gap; Unix times."""

    def listener(self, since: float, until: float) -> bool:
        """Return whether the tap did."""

    def workers(self, since: float, until: float) -> bool:
        """Return whether the observer of the workers did."""

    def lost(self, at: float) -> bool:
        """Return whether what came then is lost, because no listener had a queue."""

    def blind_before(self, at: float) -> bool:
        """Return whether busmon did not receive from the bus, shortly before."""


def judge(message: HandledMessage, level: ServiceLevel, watched: Watched) -> Within:
    """Return it for a message whose bound has passed."""
    due = _began(message) + level.within
    reached = _reached_at(message, level.stage)
    if reached is None:
        surely = _surely_not(message, level.stage, due, watched)
        return Within.FALSE if surely else Within.UNKNOWN
    if reached > due:
        return Within.FALSE
    unseen = level.stage == "handlers" and message.tree == TreeProgress.UNSEEN
    return Within.UNKNOWN if unseen else Within.TRUE


def _sent_at(message: HandledMessage) -> float | None:
    """Return when the message was sent, if it says so and can be right."""
    sent = message.sent_at
    if sent is None or not 0 <= message.received_at - sent <= MAX_DELAY_SECONDS:
        return None
    return sent


def _began(message: HandledMessage) -> float:
    sent = _sent_at(message)
    return message.received_at if sent is None else sent


def _reached_at(message: HandledMessage, stage: str) -> float | None:
    """Return when the message reached the stage, as far as anybody saw."""
    if stage == "listener":
        return message.passed_at
    if stage == "worker":
        return message.finished_at if message.state in FINISHED else None
    return message.tree_ended_at if message.tree in ENDED_TREES else None


def _surely_not(message: HandledMessage, stage: str, due: float, watched: Watched) -> bool:
    """Return whether a message of which nobody saw it did not reach the stage in time."""
    if message.report is None:
        return _surely_not_passed(message, due, watched)
    if message.passed_at is None:  # the listener dropped it, or raised an exception
        return True
    if message.passed_at > due or (stage == "handlers" and message.tree == TreeProgress.FAILED):
        return True
    if message.task is None:  # nobody can find what became of it
        return False
    return watched.workers(message.passed_at, due)


def _surely_not_passed(message: HandledMessage, due: float, watched: Watched) -> bool:
    sent, received = _sent_at(message), message.received_at
    if watched.lost(received):
        return True
    if sent is None and watched.blind_before(received):  # the listener may have had it long before
        return False
    return watched.listener(received if sent is None else sent, max(due, received))
