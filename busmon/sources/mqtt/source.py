"""MQTT 3.1.1 and 5: a persistent session, each batch acknowledged once it is recorded."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from hashlib import blake2b
from typing import TypeVar
from uuid import uuid4

from paho.mqtt.reasoncodes import ReasonCode

from busmon.ledger.batch import Observation
from busmon.message import Judgement, Message, Outcome
from busmon.sources.base import Cause, ConnectionState, Disconnected, MessageHandler, keep_connected
from busmon.sources.json_body import REJECTIONS, parse
from busmon.sources.mqtt.client import Connection
from busmon.sources.mqtt.packets import Packet
from busmon.sources.mqtt.settings import MqttBus

OTHER_SUBTOPIC = Judgement(Outcome.IGNORED, "other-subtopic")

ANSWER_TIMEOUT = 10.0  # seconds, for each of CONNACK and SUBACK

# CONNACK's reason codes (MQTT 5, table 3-1; paho translates those of 3.1.1).
REFUSALS = {
    132: (Cause.ERROR, "check version"),
    133: (Cause.LOGIN, "check client_id"),
    134: (Cause.LOGIN, "check username and password"),
    135: (Cause.LOGIN, "check username, password and certificate"),
    138: (Cause.LOGIN, "ask those who run the broker"),
    140: (Cause.LOGIN, "check username and password"),
}

T = TypeVar("T")

log = logging.getLogger(__name__)


class MqttSource:
    """One MQTT bus."""

    def __init__(self, name: str, settings: MqttBus) -> None:
        self.name = name
        self.connection = ConnectionState()
        self.rejections = (*REJECTIONS, OTHER_SUBTOPIC) if settings.subtopics else REJECTIONS
        self._settings = settings
        self._stopping = threading.Event()
        self._kept: list[Observation] = []  # not recorded yet, and no broker brings them again

    def run(self, handler: MessageHandler) -> None:
        """Receive until stopped."""
        keep_connected(self.name, self.connection, self._stopping, lambda: self._session(handler))
        if self._kept:
            log.error("%s: messages of QoS 0 that are lost: %d", self.name, len(self._kept))

    def stop(self) -> None:
        """Ask `run` to acknowledge the batch in hand and return.

        It does so within two seconds, unless it is just connecting to a host that does not
        answer: that takes up to the time-out, with nothing in hand.
        """
        self._stopping.set()

    def _session(self, handler: MessageHandler) -> None:
        def judge(packet: Packet) -> Observation:
            message = to_message(self.name, packet, self._settings.subtopics, time.time())
            return handler.judge(message)

        if self._kept:
            handler.record(self._kept)
            self._kept = []
        with closing(Connection(self._settings, judge)) as connection:
            if self._subscribed(connection):
                self.connection.up()
                log.info("%s: connected to %s", self.name, self._settings.url)
                self._receive(connection, handler)

    def _receive(self, connection: Connection, handler: MessageHandler) -> None:
        while not self._stopping.is_set():
            try:
                alive = connection.read()
            finally:  # whatever ends it: with QoS 0 nothing comes again
                self._record(connection, handler)
            if not alive:
                raise connection.lost()

    def _record(self, connection: Connection, handler: MessageHandler) -> None:
        batch = connection.take()
        if not batch:
            return
        try:
            handler.record([judged for _, judged in batch])
        except Exception:
            self._kept = [judged for answer, judged in batch if not answer]
            raise
        connection.acknowledge(batch)

    def _subscribed(self, connection: Connection) -> bool:
        """Log in and subscribe; False where stopped meanwhile."""
        connack = self._answer(connection, "CONNACK", lambda: connection.connack)
        if connack is None:
            return False
        self._check_login(connack, connection)
        connection.subscribe()
        suback = self._answer(connection, "SUBACK", lambda: connection.suback)
        if suback is None:
            return False
        self._check_subscriptions(suback)
        return True

    def _answer(
        self, connection: Connection, what: str, answer: Callable[[], T | None]
    ) -> T | None:
        """Return the broker's answer, or None where stopped before it came."""
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while not self._stopping.is_set():
            alive = connection.read()
            if (come := answer()) is not None:
                return come
            if not alive:
                raise connection.lost()
            if time.monotonic() > deadline:
                raise Disconnected(Cause.SILENT, f"no {what} within {ANSWER_TIMEOUT:g} s")
        return None

    def _check_login(self, connack: ReasonCode, connection: Connection) -> None:
        if connack.is_failure:
            cause, hint = REFUSALS.get(connack.value, (Cause.NETWORK, "trying again"))
            raise Disconnected(cause, f"the broker refuses: {connack}; {hint}")
        if self.connection.connects and not connection.session_present:
            log.warning("%s: the broker kept no session; messages may be lost", self.name)

    def _check_subscriptions(self, suback: Sequence[ReasonCode]) -> None:
        for topic, code in zip(self._settings.topics, suback, strict=True):
            if code.is_failure:
                raise Disconnected(Cause.DENIED, f"may not subscribe to {topic}: {code}")
            if code.value < self._settings.qos:
                log.warning("%s: %s is subscribed with QoS %d only", self.name, topic, code.value)


def to_message(bus: str, packet: Packet, subtopics: Sequence[str], received_at: float) -> Message:
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
    body, rejected = parse(payload) if _wanted(topic, subtopics) else (None, OTHER_SUBTOPIC)
    return Message(
        bus=bus,
        id=identity,
        topic=topic,
        received_at=received_at,
        body=body,
        size=len(payload),
        redelivered=packet.dup or packet.retain,
        digest_id=packet.qos > 0 or packet.retain,
        rejected=rejected,
    )


def _digest(packet_id: int, topic: str, payload: bytes) -> str:
    head = b"%d %s\0" % (packet_id, topic.encode())  # no topic holds a NUL
    return blake2b(head + payload, digest_size=16).hexdigest()


def _wanted(topic: str, subtopics: Sequence[str]) -> bool:
    return not subtopics or topic.partition("/")[2].startswith(tuple(subtopics))
