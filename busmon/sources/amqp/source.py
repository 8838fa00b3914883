"""AMQP as Fedora uses it, below fedora-messaging's get_message().

So it sees what the listener never sees. The queue is busmon's own: durable, not exclusive
and not auto-delete, so that it outlives a restart of busmon and of the broker.
"""

import logging
import time
from contextlib import closing
from hashlib import blake2b

from busmon.ledger.batch import Observation
from busmon.message import Message
from busmon.sources import fedora_message, schema_packages
from busmon.sources.amqp.fedora_toml import UnusableToml, read
from busmon.sources.amqp.frames import Delivery
from busmon.sources.amqp.session import AmqpSession
from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.base import Cause, ConnectionState, Disconnected, MessageHandler, keep_connected
from busmon.sources.session import MAX_BATCH_BYTES, Stopped
from busmon.sources.unrecorded import Unrecorded
from busmon.tap.busmon_tap import decode, message_id

log = logging.getLogger(__name__)


class AmqpSource:
    """One AMQP bus, read from `queue`, which is declared and bound at every connection."""

    may_end = False
    rejections = fedora_message.REJECTIONS

    def __init__(self, name: str, settings: AmqpBus, queue: str, *, received: bool = False) -> None:
        """Prepare to receive; `received`: busmon has received from this bus before."""
        self.name = name
        self.connection = ConnectionState()
        self._settings = settings
        self._queue = queue
        self._received = received
        self._unrecorded = Unrecorded()

    def run(self, handler: MessageHandler) -> None:
        """Receive until stopped."""
        keep_connected(self.name, self.connection, lambda: self._session(handler))

    def stop(self) -> None:
        """Ask `run` to return; a batch in hand is recorded and acknowledged first."""
        self.connection.stopping.set()

    def _session(self, handler: MessageHandler) -> None:
        self._unrecorded.settle(handler)
        try:
            toml = read(self._settings.config)
        except UnusableToml as error:
            raise Disconnected(Cause.ERROR, str(error)) from error
        session = AmqpSession(toml, self._settings, self.connection)
        with closing(session):
            try:
                kept = session.open(self._queue)
                forgotten = self._received and not kept
                self._received = True
                self.connection.up(forgotten=forgotten)
                if forgotten:
                    log.warning(
                        "%s: the broker had no queue %s any more, and kept no message in it",
                        self.name,
                        self._queue,
                    )
                log.info("%s: connected to %s, queue %s", self.name, toml.broker, self._queue)
                while True:
                    batch, last_tag = self._next_batch(session, handler)
                    self._unrecorded.record(handler, batch)
                    session.acknowledge(last_tag)
            except Stopped:
                return

    def _next_batch(
        self, session: AmqpSession, handler: MessageHandler
    ) -> tuple[list[Observation], int]:
        """Wait for messages; return what is to be recorded of them, and the last one's tag."""
        batch: list[Observation] = []
        left, tag = MAX_BATCH_BYTES, 0
        deliveries = session.wait()
        while deliveries:
            for delivery in deliveries:
                batch.append(handler.judge(to_message(self.name, delivery, time.time())))
                self.connection.turned()
                left -= len(delivery.body)
                tag = delivery.tag
            if left <= 0 or len(batch) >= self._settings.prefetch // 2:
                break
            deliveries = session.gather()
        return batch, tag


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
        unknown_schema=schema_packages.is_unknown(properties.headers),
    )
