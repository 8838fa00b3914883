"""A connection with one consumer of busmon's own queue."""

import time
from typing import Any

from pika import spec

from busmon.sources.amqp.connection import NOT_FOUND, AmqpConnection, ChannelClosed
from busmon.sources.amqp.fedora_toml import FedoraToml
from busmon.sources.amqp.frames import Delivery
from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.base import Cause, ConnectionState, Disconnected
from busmon.sources.session import GATHER_SECONDS, IDLE_SECONDS

BIND_SECONDS = 60.0  # between two bindings of the queue, which somebody may have removed
CLASSIC = {"x-queue-type": "classic"}  # the default of a virtual host may be another


class AmqpSession(AmqpConnection):
    """A connection with one channel and one consumer."""

    def __init__(self, toml: FedoraToml, settings: AmqpBus, connection: ConnectionState) -> None:
        """Connect."""
        super().__init__(toml, settings.heartbeat, connection)
        self._settings = settings
        self._cancelled = False
        self._deliveries: list[Delivery] = []
        self._binds: list[Any] = []
        self._last_bound = time.monotonic()

    def open(self, queue: str) -> bool:
        """Log in and subscribe; return whether the broker still had the queue."""
        self._open()
        kept = self._declare(queue)
        self._call(spec.Basic.Qos(prefetch_count=self._settings.prefetch), spec.Basic.QosOk)
        for exchange, routing_key in self._settings.bindings(self._toml):
            bind = spec.Queue.Bind(
                queue=queue, exchange=exchange, routing_key=routing_key, arguments={}
            )
            self._call(bind, spec.Queue.BindOk)
            bind.nowait = True
            self._binds.append(bind)
        self._in_use = True
        self._call(spec.Basic.Consume(queue=queue, arguments={}), spec.Basic.ConsumeOk)
        return kept

    def wait(self) -> list[Delivery]:
        """Wait for deliveries; return at least one."""
        while not self._deliveries:
            if self._cancelled:
                reason = "the broker cancelled the consumer: queue deleted?"
                raise Disconnected(Cause.CANCELLED, reason)
            self._bind_again()
            self._read(IDLE_SECONDS)
        return self._take()

    def gather(self) -> list[Delivery]:
        """Return what else has come; nothing if the broker has ended the consumer."""
        if not self._cancelled and not self._connection.stopping.is_set():
            self._receive(GATHER_SECONDS)
        return self._take()

    def acknowledge(self, tag: int) -> None:
        """Acknowledge all deliveries up to this one."""
        self._send_method(spec.Basic.Ack(tag, multiple=True))

    def _declare(self, queue: str) -> bool:
        """Declare the queue; return whether it was there."""
        kept = True
        try:
            self._call(spec.Queue.Declare(queue=queue, passive=True), spec.Queue.DeclareOk)
        except ChannelClosed as error:
            if error.code != NOT_FOUND:
                raise
            kept = False
            self._open_again()
        arguments = CLASSIC | self._settings.queue_arguments
        declare = spec.Queue.Declare(queue=queue, durable=True, arguments=arguments)
        self._call(declare, spec.Queue.DeclareOk)
        return kept

    def _bind_again(self) -> None:
        """Undo that somebody removed a binding, which the broker tells nobody."""
        if time.monotonic() - self._last_bound < BIND_SECONDS:
            return
        self._last_bound = time.monotonic()
        for bind in self._binds:
            self._send_method(bind)

    def _take(self) -> list[Delivery]:
        deliveries, self._deliveries = self._deliveries, []
        return deliveries

    def _hear(self, found: Any) -> None:
        match found:
            case Delivery() if self._in_use:
                if not self._closing:  # else it comes again
                    self._deliveries.append(found)
            case spec.Basic.Cancel():
                self._cancelled = True
            case _:
                super()._hear(found)
