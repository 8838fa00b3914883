"""One MQTT connection with a persistent session, from the login to the last acknowledgement.

paho's network thread dies of an exception in a callback while the client goes on saying that
it is connected, and it reads user properties in quadratic time. Here whoever reads the
session drives it.
"""

import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from busmon.ledger.batch import Observation
from busmon.sources.base import Cause, ConnectionState, Disconnected, ProtocolError
from busmon.sources.line import Broker
from busmon.sources.mqtt import packets
from busmon.sources.mqtt.packets import Connack, Control, Kind, PacketReader, Publish
from busmon.sources.mqtt.reasons import FAILURE, REFUSALS, TAKEN_OVER, describe
from busmon.sources.mqtt.settings import MqttBus
from busmon.sources.session import IDLE_SECONDS, MAX_BATCH_BYTES, Session

MAX_BATCH = 250  # messages
RECEIVE_MAXIMUM = 4 * MAX_BATCH  # so that the broker sends on while a batch is recorded
# Seconds that the broker keeps the session and its messages while busmon is away. "For
# ever" (0xFFFFFFFF) is beyond what some brokers allow.
SESSION_EXPIRY = 7 * 86400
ANSWER_TIMEOUT = 10.0  # seconds, for each of CONNACK and SUBACK
CLOSE_TIMEOUT = 1.0  # seconds for the broker to close the connection
SILENT_KEEPALIVES = 1.5  # without a byte after which a connection counts as dead
ANSWERS = {1: Kind.PUBACK, 2: Kind.PUBREC}  # by quality of service


class Received(NamedTuple):
    """The answer to a PUBLISH, empty with QoS 0, and what is to be recorded of it."""

    answer: bytes
    observation: Observation


class MqttSession(Session[Publish | Control]):
    """A connection that judges each PUBLISH as soon as it is read: no payload waits in memory."""

    def __init__(
        self,
        broker: Broker,
        settings: MqttBus,
        judge: Callable[[Publish], Observation],
        connection: ConnectionState,
    ) -> None:
        """Connect."""
        self._settings, self._judge = settings, judge
        self._five = settings.version == "5"
        super().__init__(broker, PacketReader(five=self._five), connection)
        self._awaited: Kind | None = None
        self._answer: Any = None
        self._logged_in = False
        self._received: list[Received] = []
        self._bytes = 0  # of their payloads
        self._set_keepalive(settings.keepalive)

    def log_in(self) -> bool:
        """Log in; return whether the broker still had the session."""
        connack: Connack = self._call(self._connect_packet(), Kind.CONNACK)
        if connack.code:
            cause, hint = REFUSALS.get(connack.code, (Cause.NETWORK, "trying again"))
            raise Disconnected(cause, f"the broker refuses: {describe(connack.code)}; {hint}")
        if connack.keepalive:
            self._set_keepalive(min(connack.keepalive, self._settings.keepalive))
        self._logged_in = True
        return connack.session_present

    def subscribe(self) -> Sequence[int]:
        """Subscribe to the topics; return the quality of service that each is granted."""
        topics, qos = self._settings.topics, self._settings.qos
        subscribe = packets.write_subscribe(topics, qos, five=self._five)
        codes: bytes = self._call(subscribe, Kind.SUBACK)
        if len(codes) != len(topics):
            raise self._broken(ProtocolError("a SUBACK for other topics"))
        for topic, code in zip(topics, codes, strict=True):
            if code >= FAILURE:
                reason = f"may not subscribe to {topic}: {describe(code)}"
                raise Disconnected(Cause.DENIED, reason)
        return codes

    def wait(self) -> None:
        """Wait for messages, which `take` returns, whatever ends this."""
        while not self._received:
            self._read(IDLE_SECONDS)
        self._gather(self._full)

    def take(self) -> Sequence[Received]:
        """Return what was received since the last call."""
        received, self._received, self._bytes = self._received, [], 0
        return received

    def acknowledge(self, batch: Sequence[Received]) -> None:
        """Acknowledge a batch; no effect if disconnected, and the broker sends it again."""
        with suppress(OSError):  # reading says why
            self._line.sendall(b"".join(answer for answer, _ in batch))
            self._last_sent = time.monotonic()

    def leave(self) -> None:
        """Say goodbye, which keeps the session, and let the broker close the connection."""
        with suppress(OSError):
            self._line.sendall(packets.write_packet(Kind.DISCONNECT))
            self._line.hang_up(CLOSE_TIMEOUT)

    def _connect_packet(self) -> bytes:
        settings = self._settings
        flags, payload = 0, packets.write_text(settings.client_id)
        if settings.username is not None:
            flags |= 0x80
            payload += packets.write_text(settings.username)
        if settings.password:
            flags |= 0x40
            payload += packets.write_text(settings.password.get_secret_value())
        properties = b""
        if self._five:
            expiry = struct.pack(">BLBH", 0x11, SESSION_EXPIRY, 0x21, RECEIVE_MAXIMUM)
            properties = packets.write_properties(expiry)
        version = struct.pack(">BBH", 5 if self._five else 4, flags, settings.keepalive)
        head = packets.write_text("MQTT") + version
        return packets.write_packet(Kind.CONNECT, head + properties + payload)

    def _set_keepalive(self, seconds: float) -> None:
        self._keepalive_seconds = seconds / 2
        self._line.silence_limit = SILENT_KEEPALIVES * seconds

    def _full(self) -> bool:
        return len(self._received) >= MAX_BATCH or self._bytes >= MAX_BATCH_BYTES

    def _call(self, packet: bytes, answer: Kind) -> Any:
        self._awaited, self._answer = answer, None
        self._write(packet)
        deadline = time.monotonic() + ANSWER_TIMEOUT
        silent = f"no {answer.name} within {ANSWER_TIMEOUT:g} s"
        self._wait_for(lambda: self._answer is not None, deadline, silent)
        return self._answer

    def _keepalive(self) -> bytes:
        return packets.write_packet(Kind.PINGREQ)

    def _hear(self, packet: Publish | Control) -> None:
        if isinstance(packet, Publish):
            self._hear_publish(packet)
        elif packet.kind == self._awaited:
            read = packets.read_connack if packet.kind == Kind.CONNACK else packets.read_suback
            self._awaited, self._answer = None, read(packet.body, five=self._five)
        elif packet.kind == Kind.PUBREL and len(packet.body) >= 2:  # its PUBLISH is recorded
            self._write(packets.write_answer(Kind.PUBCOMP, int.from_bytes(packet.body[:2])))
        elif packet.kind == Kind.DISCONNECT:
            raise self._disconnected(packet.body[0] if packet.body else 0)
        elif packet.kind != Kind.PINGRESP:
            raise ProtocolError(f"a packet of type {packet.kind} that nobody asked for")

    def _hear_publish(self, publish: Publish) -> None:
        if not self._logged_in and self._awaited:
            raise ProtocolError("a message before the login")
        answer = packets.write_answer(ANSWERS[publish.qos], publish.mid) if publish.qos else b""
        self._received.append(Received(answer, self._judge(publish)))
        self._bytes += len(publish.payload)

    def _disconnected(self, code: int) -> Disconnected:
        if code == TAKEN_OVER:
            hint = f"is there another client with client_id {self._settings.client_id}?"
            return Disconnected(Cause.CANCELLED, f"{describe(code)}: {hint}")
        return Disconnected(Cause.NETWORK, f"closed by the broker: {describe(code)}")

    def _broken(self, error: ProtocolError) -> Disconnected:
        check = "version" if self._logged_in else "url and version"
        reason = f"the broker breaks the protocol: check {check} ({error})"
        return Disconnected(Cause.ERROR, reason)

    def _lost(self) -> Disconnected:
        lost = self._line.lost()
        if lost.cause is Cause.SILENT:
            return Disconnected(Cause.SILENT, "the broker does not answer a ping")
        if lost.cause is Cause.TLS:
            return lost
        if self._logged_in:
            client_id = self._settings.client_id
            hint = f"if it happens often, is there another client with client_id {client_id}?"
            return Disconnected(Cause.NETWORK, f"{lost.detail}; {hint}")
        # Some brokers that speak 3.1.1 only close the connection without a word.
        secure = self._broker.context
        hint = "check certificate and key" if secure else "check whether the port wants TLS"
        if self._five:
            hint = f'try version = "3.1.1", and {hint}'
        return Disconnected(Cause.NETWORK, f"{lost.detail} before an answer: {hint}")
