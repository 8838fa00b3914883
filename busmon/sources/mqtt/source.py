"""MQTT 3.1.1 and 5: a persistent session, each batch acknowledged once it is recorded."""

import logging
import time
from collections.abc import Iterable
from contextlib import closing
from hashlib import blake2b
from uuid import uuid4

from busmon.ledger.batch import Observation
from busmon.ledger.errors import LedgerWriteError
from busmon.message import Judgement, Message
from busmon.problem_log import ProblemLog
from busmon.sources.base import ConnectionState, MessageHandler, keep_connected
from busmon.sources.json_body import REJECTIONS, parse
from busmon.sources.line import Broker
from busmon.sources.mqtt.packets import Publish
from busmon.sources.mqtt.session import MqttSession
from busmon.sources.mqtt.settings import MqttBus, parse_url
from busmon.sources.session import Stopped
from busmon.sources.unrecorded import Unrecorded

log = logging.getLogger(__name__)


class MqttSource:
    """One MQTT bus."""

    may_end = False
    rejections: Iterable[Judgement] = REJECTIONS

    def __init__(self, name: str, settings: MqttBus, *, received: bool = False) -> None:
        """Prepare to receive; `received`: busmon has received from this bus before."""
        self.name = name
        self.connection = ConnectionState()
        self._settings = settings
        self._received = received
        self._unrecorded = Unrecorded()
        self._problems = ProblemLog(log)

    def run(self, handler: MessageHandler) -> None:
        """Receive until stopped."""
        keep_connected(self.name, self.connection, lambda: self._session(handler))
        if lost := sum(not one.digest_id for one in self._unrecorded.observations):
            log.error("%s: messages of QoS 0 that are lost: %d", self.name, lost)

    def stop(self) -> None:
        """Ask `run` to acknowledge the batch in hand and return.

        It does so within two seconds, unless it is just connecting to a host that does not
        answer: that takes up to the time-out, with nothing in hand.
        """
        self.connection.stopping.set()

    def _session(self, handler: MessageHandler) -> None:
        def judge(publish: Publish) -> Observation:
            return handler.judge(to_message(self.name, publish, time.time()))

        self._unrecorded.settle(handler)
        session = MqttSession(_broker(self._settings), self._settings, judge, self.connection)
        with closing(session):
            try:
                self._receive(session, handler)
            except Stopped:
                session.leave()
            except LedgerWriteError:
                session.leave()  # so that the broker has what was acknowledged before
                raise

    def _receive(self, session: MqttSession, handler: MessageHandler) -> None:
        try:
            self.connection.up(forgotten=self._open(session))
            log.info("%s: connected to %s", self.name, self._settings.url)
            while True:
                session.wait()
                self._record(session, handler)
        finally:  # whatever ended it: with QoS 0 nothing comes again
            self._record(session, handler)

    def _open(self, session: MqttSession) -> bool:
        """Log in and subscribe; return whether the broker has forgotten a session."""
        forgotten = not session.log_in() and self._received
        granted = session.subscribe()
        for topic, qos in zip(self._settings.topics, granted, strict=True):
            if qos < self._settings.qos:
                self._problems.problem(f"{self.name}: {topic} is subscribed with QoS {qos} only")
        self._received = True
        if forgotten:
            log.warning("%s: the broker kept no session, and no message for it", self.name)
        return forgotten

    def _record(self, session: MqttSession, handler: MessageHandler) -> None:
        batch = session.take()
        if batch:
            self._unrecorded.record(handler, [observation for _, observation in batch])
            session.acknowledge(batch)


def _broker(settings: MqttBus) -> Broker:
    host, port = parse_url(settings.url)
    context = settings.tls_context() if settings.url.startswith("mqtts:") else None
    return Broker(host=host, port=port, context=context, address_setting="url")


def to_message(bus: str, packet: Publish, received_at: float) -> Message:
    """Return a PUBLISH packet as a message, with an id that is the same when it comes again.

    MQTT has none. With QoS 1 the broker keeps the packet id of what it sends again, and
    sets DUP then and only then. A retained copy, sent at a subscription, is one message
    however often it comes. With QoS 0 nothing ever comes twice.
    """
    payload = packet.payload
    topic = packet.topic.decode(errors="backslashreplace")
    if packet.retain:
        identity = _digest(0, topic, payload)
    elif packet.qos:
        identity = _digest(packet.mid, topic, payload)
    else:
        identity = str(uuid4())
    body, unreadable = parse(payload)
    return Message(
        bus=bus,
        id=identity,
        topic=topic,
        received_at=received_at,
        body=body,
        size=packet.size,
        redelivered=packet.dup or packet.retain,
        digest_id=packet.qos > 0 or packet.retain,
        unreadable=unreadable,
    )


def _digest(packet_id: int, topic: str, payload: bytes) -> str:
    head = b"%d %s\0" % (packet_id, topic.encode())  # no topic holds a NUL
    return blake2b(head + payload, digest_size=16).hexdigest()
