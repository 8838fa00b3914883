"""One AMQP connection with one channel and one consumer, from the login to its end.

pika gives the codec. Its connections run callbacks from a loop of their own; here whoever
reads the connection drives it, and each answer is awaited at one place, with a deadline.
"""

import math
import time
from contextlib import suppress
from typing import Any, NamedTuple

from pika import URLParameters, frame, spec
from pika.credentials import ExternalCredentials

from busmon.sources.amqp.fedora_toml import FedoraToml
from busmon.sources.amqp.frames import FRAME_MAX, Delivery, FrameReader
from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.base import Cause, ConnectionState, Disconnected, ProtocolError
from busmon.sources.line import Broker
from busmon.sources.session import CLOSE_TIMEOUT, GATHER_SECONDS, IDLE_SECONDS, Session

OPEN_TIMEOUT = 20.0  # seconds for login and subscription together
BIND_SECONDS = 60.0  # between two bindings of the queue, which somebody may have removed
SILENT_HEARTBEATS = 1.5  # without a byte after which a connection counts as dead
CHANNEL = 1
CAPABILITIES = {"authentication_failure_close": True, "consumer_cancel_notify": True}
CLASSIC = {"x-queue-type": "classic"}  # the default of a virtual host may be another
NOT_FOUND, PRECONDITION_FAILED = 404, 406


class Stage(NamedTuple):
    """What it means if the connection ends at that stage of opening it."""

    cause: Cause
    hint: str


HANDSHAKE = Stage(
    Cause.NETWORK, "no AMQP there, or TLS where amqps is not said: check amqp_url in {file}"
)
LOGIN = Stage(Cause.LOGIN, "the login is not accepted: check amqp_url and [tls] in {file}")
OPEN = Stage(Cause.LOGIN, "logged in, but not let into the virtual host: check amqp_url in {file}")
CHANNEL_OPEN = Stage(Cause.NETWORK, "closed by the broker")


class ChannelClosed(Disconnected):
    """The broker refuses what was asked on the channel; `code` is AMQP's."""

    def __init__(self, code: int, text: str) -> None:
        advice = "; delete the queue, or set another queue or queue_arguments"
        advice = advice if code == PRECONDITION_FAILED else ""
        super().__init__(Cause.DENIED, f"the broker refuses ({code}, {text}){advice}")
        self.code = code


class AmqpSession(Session[Any]):
    """A connection with one channel and one consumer."""

    _reader: FrameReader

    def __init__(
        self, broker: Broker, toml: FedoraToml, settings: AmqpBus, connection: ConnectionState
    ) -> None:
        """Connect."""
        super().__init__(broker, FrameReader(), connection)
        self._toml, self._settings = toml, settings
        self._stage = HANDSHAKE
        self._deadline = math.inf  # of the answer that is awaited
        self._awaited: type | None = None
        self._answer: Any = None
        self._consuming = self._cancelled = False
        self._deliveries: list[Delivery] = []
        self._binds: list[Any] = []
        self._last_bound = time.monotonic()
        self._line.silence_limit = SILENT_HEARTBEATS * settings.heartbeat

    def open(self, queue: str) -> bool:
        """Log in and subscribe; return whether the broker still had the queue."""
        self._deadline = time.monotonic() + OPEN_TIMEOUT
        self._log_in()
        self._call(spec.Channel.Open(), spec.Channel.OpenOk)
        kept = self._declare(queue)
        self._call(spec.Basic.Qos(prefetch_count=self._settings.prefetch), spec.Basic.QosOk)
        for exchange, routing_key in self._settings.bindings(self._toml):
            bind = spec.Queue.Bind(
                queue=queue, exchange=exchange, routing_key=routing_key, arguments={}
            )
            self._call(bind, spec.Queue.BindOk)
            bind.nowait = True
            self._binds.append(bind)
        self._consuming = True
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

    def close(self) -> None:
        """Let the broker take the last acknowledgements, and close in any case."""
        with suppress(Disconnected):
            if self._consuming and not self._line.failure:
                self._awaited, self._answer = spec.Connection.CloseOk, None
                self._send_method(spec.Connection.Close(200, "", 0, 0), channel=0)
                deadline = time.monotonic() + CLOSE_TIMEOUT
                while not self._answer and time.monotonic() < deadline:
                    self._receive(IDLE_SECONDS)
                    self._deliveries.clear()  # they come again
        super().close()

    def _log_in(self) -> None:
        self._write(frame.ProtocolHeader().marshal())
        start = self._answer_of(spec.Connection.Start)
        parameters = URLParameters(self._toml.amqp_url.get_secret_value())
        if self._toml.certificate and self._toml.key:
            parameters.credentials = ExternalCredentials()
        mechanism, response = parameters.credentials.response_for(start)
        self._stage = LOGIN
        if not mechanism:
            offered = start.mechanisms.decode(errors="replace")
            raise self._ended(f"the broker offers {offered}")
        properties = self._toml.client_properties | {"capabilities": CAPABILITIES}
        start_ok = spec.Connection.StartOk(properties, mechanism, response, "en_US")
        tune = self._call(start_ok, spec.Connection.Tune, channel=0)
        self._stage = OPEN
        self._reader.frame_max = min(tune.frame_max or FRAME_MAX, FRAME_MAX)
        heartbeat = self._settings.heartbeat
        tune_ok = spec.Connection.TuneOk(CHANNEL, self._reader.frame_max, heartbeat)
        self._send_method(tune_ok, channel=0)
        vhost = spec.Connection.Open(parameters.virtual_host)
        self._call(vhost, spec.Connection.OpenOk, channel=0)
        self._stage = CHANNEL_OPEN
        self._keepalive_seconds = heartbeat / 2

    def _declare(self, queue: str) -> bool:
        """Declare the queue; return whether it was there."""
        kept = True
        try:
            self._call(spec.Queue.Declare(queue=queue, passive=True), spec.Queue.DeclareOk)
        except ChannelClosed as error:
            if error.code != NOT_FOUND:
                raise
            kept = False
            self._send_method(spec.Channel.CloseOk())
            self._call(spec.Channel.Open(), spec.Channel.OpenOk)
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

    def _call(self, method: Any, answer: type, channel: int = CHANNEL) -> Any:
        self._send_method(method, channel)
        return self._answer_of(answer)

    def _answer_of(self, kind: type) -> Any:
        self._awaited, self._answer = kind, None
        self._wait_for(lambda: self._answer, self._deadline, "the broker does not answer")
        return self._answer

    def _take(self) -> list[Delivery]:
        deliveries, self._deliveries = self._deliveries, []
        return deliveries

    def _send_method(self, method: Any, channel: int = CHANNEL) -> None:
        self._write(frame.Method(channel, method).marshal())

    def _keepalive(self) -> bytes:
        heartbeat: bytes = frame.Heartbeat().marshal()
        return heartbeat

    def _hear(self, found: Any) -> None:
        match found:
            case Delivery() if self._consuming:
                self._deliveries.append(found)
            case spec.Connection.Close():
                raise self._ended(found.reply_text)
            case spec.Channel.Close():
                raise ChannelClosed(found.reply_code, found.reply_text)
            case spec.Basic.Cancel():
                self._cancelled = True
            case _ if self._awaited and isinstance(found, self._awaited):
                self._awaited, self._answer = None, found
            case _:
                raise ProtocolError(f"{type(found).__name__} that nobody asked for")

    def _lost(self) -> Disconnected:
        """Return what the end of the connection means at this stage."""
        lost = self._line.lost()
        if lost.cause is Cause.SILENT:
            return Disconnected(Cause.SILENT, "no sign of life from the broker")
        if self._stage is HANDSHAKE and self._toml.certificate and lost.cause is Cause.NETWORK:
            # With TLS 1.3 the broker refuses a certificate only after the handshake.
            check = f"check certfile and keyfile in [tls] of {self._toml.path}"
            return Disconnected(Cause.TLS, f"the certificate may not be accepted: {check}")
        if self._stage is CHANNEL_OPEN or lost.cause is not Cause.NETWORK:
            return lost
        return self._ended(lost.detail)

    def _broken(self, error: ProtocolError) -> Disconnected:
        return self._ended(str(error)) if self._stage is HANDSHAKE else super()._broken(error)

    def _ended(self, reason: str) -> Disconnected:
        hint = self._stage.hint.format(file=self._toml.path)
        return Disconnected(self._stage.cause, f"{hint} ({reason})")
