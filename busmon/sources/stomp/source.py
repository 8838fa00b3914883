"""STOMP 1.2: ActiveMQ's buses, and RabbitMQ's by its STOMP plugin.

The source lets each message be judged as it is read, records those that are there as one
batch, and only then acknowledges it and reads on.
"""

import logging
import re
import time
from collections.abc import Iterable
from contextlib import closing
from hashlib import blake2b

from busmon.ledger.batch import Observation
from busmon.ledger.errors import LedgerWriteError
from busmon.message import Judgement, Message
from busmon.sources.base import ConnectionState, Disconnected, MessageHandler, keep_connected
from busmon.sources.json_body import REJECTIONS, parse
from busmon.sources.line import Broker
from busmon.sources.session import Stopped
from busmon.sources.stomp.frames import Frame
from busmon.sources.stomp.session import StompSession
from busmon.sources.stomp.settings import StompBus
from busmon.sources.unrecorded import Unrecorded
from busmon.tap.busmon_tap import message_id
from busmon.text import parse_address

# ActiveMQ says so if it has sent some messages of a durable subscription twice, as it does after
# a restart: it takes no cumulative acknowledgement then, now and at any connection to come.
MISCOUNTED = "Unmatched acknowledge"

log = logging.getLogger(__name__)


class StompSource:
    """A bus read with STOMP."""

    may_end = False
    rejections: Iterable[Judgement] = REJECTIONS

    def __init__(self, name: str, settings: StompBus) -> None:
        self.name = name
        self.connection = ConnectionState()
        self._settings = settings
        self._unrecorded = Unrecorded()
        self._attempts = 0

    def run(self, handler: MessageHandler) -> None:
        """Receive until stopped; if one broker fails, the next is tried."""
        keep_connected(self.name, self.connection, lambda: self._session(handler))

    def stop(self) -> None:
        """Ask `run` to acknowledge the batch in hand and return."""
        self.connection.stopping.set()

    def _session(self, handler: MessageHandler) -> None:
        def judge(frame: Frame, server: str) -> Observation:
            message = message_of(
                frame, self.name, self._settings, server=server, received_at=time.time()
            )
            return handler.judge(message)

        self._unrecorded.settle(handler)
        address = self._settings.brokers[self._attempts % len(self._settings.brokers)]
        self._attempts += 1
        broker = _broker(address, self._settings)
        with closing(StompSession(broker, self._settings, judge, self.connection)) as session:
            try:
                session.open()
                self.connection.up()
                log.info("%s: connected to %s", self.name, address)
                while True:
                    batch = session.take()
                    observations = [observation for _, observation in batch]
                    self._unrecorded.record(handler, observations)
                    session.acknowledge(batch)
            except Stopped:
                session.leave()
            except LedgerWriteError:
                session.leave()  # so that the broker has what was acknowledged before
                raise
            except Disconnected as error:
                if MISCOUNTED in error.detail:
                    self._settings = self._settings.model_copy(update={"ack": "client-individual"})
                raise


def _broker(address: str, settings: StompBus) -> Broker:
    host, port = parse_address(address)
    context = settings.tls_context() if settings.tls else None
    return Broker(host=host, port=port, context=context, address_setting="brokers")


def message_of(
    frame: Frame, bus: str, settings: StompBus, *, server: str, received_at: float
) -> Message:
    """Return a MESSAGE frame as the bus's message; `server` is the broker's name for itself."""
    headers, payload = frame.headers, frame.body
    identity = message_id(headers.get(identifying_header(settings, server)))
    body, unreadable = parse(payload)
    return Message(
        bus=bus,
        id=identity or digest(headers, payload),
        digest_id=not identity,
        topic=topic_of(headers, settings),
        received_at=received_at,
        sent_at=sent_at(headers.get("timestamp")),
        body=body,
        size=frame.size,
        redelivered=headers.get("redelivered") == "true",
        unreadable=unreadable,
    )


def identifying_header(settings: StompBus, server: str) -> str:
    """Return the header that is the same when a message comes again."""
    if server.startswith("RabbitMQ") and settings.id_header == "message-id":
        return "amqp-message-id"  # RabbitMQ makes another message-id for each delivery
    return settings.id_header


def topic_of(headers: dict[str, str], settings: StompBus) -> str:
    """Return the part of a header that is the topic, or all of it where none matches."""
    # A subscription's id ends in its destination, see StompSession.
    place = headers.get("destination") or headers["subscription"]
    value = headers.get(settings.topic_header) or place
    match = re.search(settings.topic_pattern, value)
    return (match and match[1]) or value


def digest(headers: dict[str, str], payload: bytes) -> str:
    """Return an identity for a message that has none: what it says, where and when."""
    where_and_when = f"{headers.get('destination')}\n{headers.get('timestamp')}\n"
    return blake2b(where_and_when.encode() + payload, digest_size=16).hexdigest()


def sent_at(timestamp: str | None) -> float | None:
    """Return a header in milliseconds as seconds; None where it says nothing."""
    try:
        return int(timestamp or 0) / 1000 or None
    except (ValueError, OverflowError):
        return None
