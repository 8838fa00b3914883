"""paho-mqtt, tamed: one connection with a persistent session, driven by its own reader.

One thread does everything. paho's network thread dies of an exception in a callback
while the client goes on saying that it is connected; here the callbacks only note what
they receive, with each message judged. Whoever reads the connection drives it.
"""

import os
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from busmon.ledger.batch import Observation
from busmon.sources.base import Cause, Disconnected
from busmon.sources.mqtt.packets import Client, Packet, answer_to, packet_of
from busmon.sources.mqtt.settings import MqttBus, parse_url
from busmon.text import format_address

BATCH = 250  # messages at most
BATCH_SIZE = 1024**2  # bytes of payloads after which a batch is recorded, so that none takes long
RECEIVE_MAXIMUM = 4 * BATCH  # so that the broker sends on while a batch is recorded
# Seconds that the broker keeps the session and its messages while busmon is away. "For
# ever" (0xFFFFFFFF) is beyond what some brokers allow.
SESSION_EXPIRY = 7 * 86400
CONNECT_TIMEOUT = 10.0  # seconds
IDLE = 0.25  # seconds to wait for something to read
CLOSE_TIMEOUT = 1.0  # seconds to send what is still to be sent, and for the broker to hang up
CHUNK = 65536  # bytes

# Reason codes of MQTT 5 (table 2-6); paho translates those of 3.1.1.
PROTOCOL_ERROR = 130
KEEPALIVE_TIMEOUT = 141
TAKEN_OVER = 142


@dataclass(slots=True)
class _Heard:
    """What paho's callbacks received. It has no client, so that no cycle keeps one alive."""

    judge: Callable[[Packet], Observation]
    batch: list[tuple[bytes, Observation]] = field(default_factory=list)  # with the answer to each
    size: int = 0  # bytes of its payloads
    connack: ReasonCode | None = None
    session_present: bool = False
    suback: Sequence[ReasonCode] | None = None
    disconnect: ReasonCode | None = None
    by_broker: bool = False  # the broker sent a DISCONNECT
    error: str = ""  # what the socket said

    def add(self, packet: Packet) -> None:
        """Judge a PUBLISH, and note what is to be recorded and answered."""
        self.size += len(packet.payload)
        self.batch.append((answer_to(packet), self.judge(packet)))


class Connection:
    """One connection. A new one reads the certificates anew, since they may be renewed."""

    def __init__(self, settings: MqttBus, judge: Callable[[Packet], Observation]) -> None:
        """Connect, but don't wait for CONNACK; raises Disconnected."""
        self._settings = settings
        self._heard = _Heard(judge)
        self._tls = settings.url.startswith("mqtts:")
        self._client = _client(settings, self._heard)
        if self._tls:
            context = settings.tls_context()
            context.sslsocket_class = _TlsSocket
            self._client.tls_set_context(context)
        self._connect()

    @property
    def connack(self) -> ReasonCode | None:
        """The broker's answer to the login, once it has come."""
        return self._heard.connack

    @property
    def session_present(self) -> bool:
        """Whether the broker had kept the session."""
        return self._heard.session_present

    @property
    def suback(self) -> Sequence[ReasonCode] | None:
        """The broker's answer to `subscribe`, once it has come: a code for each topic."""
        return self._heard.suback

    def subscribe(self) -> None:
        """Ask for the configured topics."""
        topics, qos = self._settings.topics, self._settings.qos
        if self._settings.version == "3.1.1":
            self._client.subscribe([(topic, int(qos)) for topic in topics])
            return
        # Retained copies only where the subscription is new: with an old one, they were seen.
        options = SubscribeOptions(qos, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        self._client.subscribe([(topic, options) for topic in topics])

    def read(self) -> bool:
        """Wait a moment for packets, read what has come, up to a batch; False: it has ended.

        Neither of paho's calls reads more than one packet; `loop` also writes, keeps the
        connection alive, and looks at what TLS has buffered.
        """
        alive = self._client.loop(IDLE) == paho.MQTT_ERR_SUCCESS
        seen = 0
        while seen < len(self._heard.batch) < BATCH and self._heard.size < BATCH_SIZE:
            seen = len(self._heard.batch)
            self._client.loop_read()
        return alive

    def take(self) -> Sequence[tuple[bytes, Observation]]:
        """Return what was read since the last call, judged, and the acknowledgement of each.

        With QoS 0 that is empty.
        """
        batch, self._heard.batch, self._heard.size = self._heard.batch, [], 0
        return batch

    def acknowledge(self, batch: Sequence[tuple[bytes, Observation]]) -> None:
        """Acknowledge a batch; no effect if disconnected: the broker sends it again."""
        self._client.send(b"".join(answer for answer, _ in batch))

    def lost(self) -> Disconnected:
        """Return why the connection has ended."""
        heard, client_id = self._heard, self._settings.client_id
        code = heard.disconnect.value if heard.disconnect else None
        if heard.by_broker and code == TAKEN_OVER:
            hint = f"is there another client with client_id {client_id}?"
            return Disconnected(Cause.CANCELLED, f"{heard.disconnect}: {hint}")
        if heard.by_broker:
            return Disconnected(Cause.NETWORK, f"closed by the broker: {heard.disconnect}")
        if code == KEEPALIVE_TIMEOUT:
            return Disconnected(Cause.SILENT, "the broker does not answer a ping")
        if code == PROTOCOL_ERROR:
            return Disconnected(Cause.ERROR, "the broker breaks the protocol: check version")
        if heard.connack:
            hint = f"if it happens often, is there another client with client_id {client_id}?"
            return Disconnected(Cause.NETWORK, f"connection closed; {hint}")
        said = heard.error or "closed before an answer"
        if self._tls:
            # With TLS 1.3 a broker tells only after the handshake that it rejects the client.
            return Disconnected(Cause.TLS, f"{said}: check certificate and key")
        return Disconnected(Cause.NETWORK, f"{said}: does the port want TLS?")

    def close(self) -> None:
        """Send what is left, then a DISCONNECT, which keeps the session; close in any case."""
        deadline = time.monotonic() + CLOSE_TIMEOUT
        sock = self._client.socket()
        line = socket.socket(fileno=os.dup(sock.fileno())) if sock else None
        self._client.disconnect()
        while self._client.socket() and time.monotonic() < deadline:
            self._client.loop(IDLE)
        if sock := self._client.socket():
            sock.close()
        if line:
            _hang_up(line, deadline)

    def _connect(self) -> None:
        host, port = parse_url(self._settings.url)
        five = self._settings.version == "5"
        try:
            self._client.connect(
                host,
                port,
                self._settings.keepalive,
                clean_start=False if five else paho.MQTT_CLEAN_START_FIRST_ONLY,
                properties=_connect_properties() if five else None,
            )
        except ssl.SSLCertVerificationError as error:
            hint = "check ca, and that url has the name in the broker's certificate"
            raise Disconnected(Cause.TLS, f"{error.verify_message}: {hint}") from error
        except ssl.SSLError as error:
            hint = "check certificate and key, and that the port speaks TLS"
            raise Disconnected(Cause.TLS, f"{error.reason or error}: {hint}") from error
        except TimeoutError as error:
            silence = f"{format_address(host, port)} does not answer within {CONNECT_TIMEOUT:g} s"
            raise Disconnected(Cause.SILENT, silence) from error
        except OSError as error:
            reset = self._tls and isinstance(error, ConnectionResetError)
            said = f"{format_address(host, port)}: {error.strerror or error}"
            said += "; does the port speak TLS?" if reset else ""
            raise Disconnected(Cause.NETWORK, said) from error


def _hang_up(line: socket.socket, deadline: float) -> None:
    """Let the broker end the connection, by a second handle of paho's socket.

    paho closes its own at once. To close one with unread packets in it resets the
    connection, and the broker never sees the last acknowledgements.
    """
    with line, suppress(OSError):
        line.shutdown(socket.SHUT_WR)
        while (left := deadline - time.monotonic()) > 0:
            line.settimeout(left)
            if not line.recv(CHUNK):
                return


class _TlsSocket(ssl.SSLSocket):
    """A socket that does not stay open when its handshake fails, as paho would leave it."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    properties.SessionExpiryInterval = SESSION_EXPIRY
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    return properties


def _client(settings: MqttBus, heard: _Heard) -> Client:
    five = settings.version == "5"
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=settings.client_id,
        clean_session=None if five else False,
        userdata=heard,
        protocol=paho.MQTTv5 if five else paho.MQTTv311,
        reconnect_on_failure=False,
        manual_ack=True,
    )
    client.connect_timeout = CONNECT_TIMEOUT
    if settings.username is not None:
        password = settings.password.get_secret_value() if settings.password else None
        client.username_pw_set(settings.username, password)
    client.on_connect = _on_connect
    client.on_subscribe = _on_subscribe
    client.on_packet = heard.add
    client.on_message = _on_message
    client.on_disconnect = _on_disconnect
    client.on_log = _on_log
    return client


def _on_connect(
    client: paho.Client,
    heard: _Heard,
    flags: paho.ConnectFlags,
    code: ReasonCode,
    _: Properties | None,
) -> None:
    heard.connack, heard.session_present = code, flags.session_present
    client.on_log = None  # it has served its purpose, and would cost time with every message


def _on_subscribe(
    _client: paho.Client,
    heard: _Heard,
    _mid: int,
    codes: list[ReasonCode],
    _: Properties | None,
) -> None:
    heard.suback = codes


def _on_message(_client: paho.Client, heard: _Heard, message: paho.MQTTMessage) -> None:
    heard.add(packet_of(message))


def _on_disconnect(
    _client: paho.Client,
    heard: _Heard,
    flags: paho.DisconnectFlags,
    code: ReasonCode,
    _: Properties | None,
) -> None:
    heard.disconnect, heard.by_broker = code, flags.is_disconnect_packet_from_server


def _on_log(_client: paho.Client, heard: _Heard, level: int, text: str) -> None:
    if level == paho.MQTT_LOG_ERR:
        # The only place where paho tells what the socket said; what follows is of no use.
        heard.error = heard.error or text.removeprefix("failed to receive on socket: ")
