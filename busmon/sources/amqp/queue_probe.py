"""Looks whether the listener's queues are there, over a short connection of its own.

Only passive declares are sent, which make and change nothing. But with the counts in its answer
RabbitMQ renews the time after which an unused queue expires. So whoever asks can do without.
"""

from collections.abc import Set
from contextlib import closing
from pathlib import Path

from pika import spec

from busmon.sources.amqp.connection import (
    NOT_FOUND,
    RESOURCE_LOCKED,
    AmqpConnection,
    ChannelClosed,
)
from busmon.sources.amqp.fedora_toml import UnusableToml, read
from busmon.sources.base import Cause, ConnectionState, Disconnected
from busmon.sources.listener_queue import QueueState
from busmon.sources.session import IDLE_SECONDS

HEARTBEAT_SECONDS = 10
# RabbitMQ says "not found" of a queue that it has, too, if it cannot reach it.
UNREACHABLE = "is down or inaccessible", "has crashed", "due to timeout", "is stopped"


def look(config: Path, connection: ConnectionState, uncounted: Set[str]) -> dict[str, QueueState]:
    """Return the state of each queue that fedora-messaging's file names; raises Disconnected.

    Of the queues in `uncounted`, messages and consumers are not asked for.
    """
    try:
        toml = read(config)
    except UnusableToml as error:
        raise Disconnected(Cause.ERROR, str(error)) from error
    with closing(QueueProbe(toml, HEARTBEAT_SECONDS, connection)) as probe:
        return probe.look(uncounted)


class QueueProbe(AmqpConnection):
    """A connection that consumes nothing."""

    _close_timeout = IDLE_SECONDS  # it has nothing to lose

    def look(self, uncounted: Set[str]) -> dict[str, QueueState]:
        """Log in, and return the state of each queue of the file."""
        self._open()
        self._in_use = True
        names = sorted(self._toml.queues)
        return {name: self._state(name, counted=name not in uncounted) for name in names}

    def _state(self, queue: str, *, counted: bool) -> QueueState:
        declare = spec.Queue.Declare(queue=queue, passive=True, nowait=not counted)
        try:
            if counted:
                found = self._call(declare, spec.Queue.DeclareOk)
                return QueueState(messages=found.message_count, consumers=found.consumer_count)
            # It is only answered if the queue is not there; so another answer is awaited.
            self._send_method(declare)
            self._call(spec.Basic.Qos(), spec.Basic.QosOk)
        except ChannelClosed as error:
            if not _is_state(error):
                raise
            self._open_again()
            there = error.code == RESOURCE_LOCKED
            return QueueState(there=there, held=there)
        return QueueState()


def _is_state(refused: ChannelClosed) -> bool:
    """Return whether the broker refuses to say more because the queue is held or gone."""
    reachable = not any(words in refused.detail for words in UNREACHABLE)
    return refused.code == RESOURCE_LOCKED or (refused.code == NOT_FOUND and reachable)
