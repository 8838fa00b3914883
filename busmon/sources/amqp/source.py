"""AMQP as Fedora uses it, below fedora-messaging's get_message().

So it sees what the listener never sees. The queue is busmon's own: durable, not exclusive
and not auto-delete, so that it outlives a restart of busmon and of the broker.
"""

import logging
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import crochet
from pika.adapters.twisted_connection import ClosableDeferredQueue, TwistedChannel
from pika.exceptions import ConsumerCancelled
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.internet.threads import blockingCallFromThread
from twisted.python.failure import Failure

from busmon.ledger.batch import Observation
from busmon.message import Message
from busmon.sources import fedora_message
from busmon.sources.amqp.connection import ENDS, Connection
from busmon.sources.amqp.fedora_toml import FedoraToml, UnusableToml, read
from busmon.sources.amqp.frames import Delivery
from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.base import Cause, ConnectionState, Disconnected, MessageHandler, keep_connected
from busmon.tap.identity import decode, message_id

BATCH_SIZE = 2 * 1024**2  # bytes of bodies after which a batch is recorded, so that none takes long
OPENING = 20.0  # seconds for TCP, TLS, login and subscription together

log = logging.getLogger(__name__)


class AmqpSource:
    """One AMQP bus, read from `queue`, which is declared and bound at every connection."""

    rejections = fedora_message.REJECTIONS

    def __init__(
        self, name: str, settings: AmqpBus, queue: str, *, opening: float = OPENING
    ) -> None:
        self.name = name
        self.connection = ConnectionState()
        self._settings = settings
        self._queue = queue
        self._opening = opening
        self._stopping = threading.Event()
        self._running: Deferred[None] = succeed(None)  # touched in the reactor's thread only

    def run(self, handler: MessageHandler) -> None:
        """Receive until stopped. Twisted's one reactor runs in a thread of its own."""
        crochet.setup()

        def session() -> None:
            blockingCallFromThread(reactor, self._start, handler)

        keep_connected(self.name, self.connection, self._stopping, session)

    def stop(self) -> None:
        """Ask `run` to return; a batch in hand is recorded and acknowledged first."""
        self._stopping.set()
        reactor.callFromThread(lambda: self._running.cancel())

    def _start(self, handler: MessageHandler) -> Any:  # a Deferred; Twisted's hints refuse it
        if not self._stopping.is_set():
            self._running = Deferred.fromCoroutine(self._session(handler))
        return self._running

    async def _session(self, handler: MessageHandler) -> None:
        try:
            toml = read(self._settings.config)
        except UnusableToml as error:
            raise Disconnected(Cause.ERROR, str(error)) from error

        def judge(delivery: Delivery) -> Observation:
            return handler.judge(to_message(self.name, delivery, time.time()))

        inbox = DeliveryBuffer(judge, self._settings.prefetch // 2)
        connection = Connection(toml, self._settings.heartbeat, inbox.keep)
        try:
            opening = Deferred.fromCoroutine(self._subscribe(connection, toml))
            channel, consumer = await opening.addTimeout(self._opening, reactor)
            consumer.get().addErrback(inbox.end)  # it brings nothing but its end
            self.connection.up()
            log.info("%s: connected to %s, queue %s", self.name, toml.broker, self._queue)
            await self._receive(channel, inbox, handler)
        except CancelledError:
            return
        except ENDS as error:
            raise connection.ended(error) from error
        finally:
            await connection.close()

    async def _subscribe(
        self, connection: Connection, toml: FedoraToml
    ) -> tuple[TwistedChannel, ClosableDeferredQueue]:
        protocol = await connection.open()
        channel = await protocol.channel()
        await channel.basic_qos(prefetch_count=self._settings.prefetch)
        await channel.queue_declare(
            queue=self._queue, durable=True, exclusive=False, auto_delete=False
        )
        for binding in self._settings.bindings(toml):
            await channel.queue_bind(
                queue=self._queue, exchange=binding.exchange, routing_key=binding.routing_key
            )
        consumer, _tag = await channel.basic_consume(queue=self._queue)
        return channel, consumer

    async def _receive(
        self, channel: TwistedChannel, inbox: "DeliveryBuffer", handler: MessageHandler
    ) -> None:
        while True:
            batch, last = await inbox.take()
            handler.record(batch)
            channel.basic_ack(last, multiple=True)


class DeliveryBuffer:
    """What was delivered and is not recorded yet; a batch is about `enough` messages.

    So the broker sends the next batch while one is recorded. What came before the consumer
    was cancelled is recorded, too: a deleted queue brings nothing again.
    """

    def __init__(self, judge: Callable[[Delivery], Observation], enough: int) -> None:
        self._judge = judge
        self._enough = enough
        self._batch: list[Observation] = []
        self._last = 0  # tag of its last delivery
        self._size = 0  # bytes of its bodies
        self._ended: BaseException | None = None
        self._news: Deferred[None] = Deferred()

    async def take(self) -> tuple[list[Observation], int]:
        """Wait for deliveries and return all that came, and the tag of the last one.

        Raises the subscription's end.
        """
        await self._news
        # Two turns of the reactor, for the last acknowledgement to leave, which Twisted's TLS
        # gathers for one, and more while each brings more: a commit costs less in large batches.
        for _ in range(2):
            await deferLater(reactor, 0)
        seen = 0
        while seen < len(self._batch) < self._enough and self._size < BATCH_SIZE:
            seen = len(self._batch)
            await deferLater(reactor, 0)
        self._news = Deferred()
        batch, self._batch, self._size = self._batch, [], 0
        if self._ended:
            self._news.callback(None)
            if not batch or not isinstance(self._ended, ConsumerCancelled):
                raise self._ended
        return batch, self._last

    def keep(self, delivery: Delivery) -> None:
        """Judge a delivery, and keep what is to be recorded of it."""
        try:
            self._batch.append(self._judge(delivery))
        except Exception as error:  # noqa: BLE001 - a bug of ours, which `take` raises
            self._ended = error
        self._last = delivery.tag
        self._size += len(delivery.body)
        self._tell()

    def end(self, failure: Failure) -> None:
        """Take the end of the subscription."""
        self._ended = self._ended or failure.value  # a bug comes first: nothing is acknowledged
        self._tell()

    def _tell(self) -> None:
        if not self._news.called:
            self._news.callback(None)


def to_message(bus: str, delivery: Delivery, received_at: float) -> Message:
    """Return a delivery as a message. Without an id, a digest of its content identifies it."""
    properties, body = delivery.properties, delivery.body
    topic = decode(delivery.routing_key)
    parsed, rejected = fedora_message.decode(
        topic, properties.headers, properties.content_encoding, body
    )
    identity = message_id(properties.message_id)
    return Message(
        bus=bus,
        id=identity or blake2b(topic.encode() + b"\0" + body, digest_size=16).hexdigest(),
        topic=topic,
        received_at=received_at,
        sent_at=fedora_message.sent_at(properties.headers),
        body=parsed,
        size=delivery.size,
        redelivered=delivery.redelivered,
        digest_id=not identity,
        rejected=rejected,
    )
