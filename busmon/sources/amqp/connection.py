"""One AMQP connection with one channel: the login, what is asked and answered, its end.

pika gives the codec. Its connections run callbacks from a loop of their own; here whoever
reads the connection drives it, and each answer is awaited at one place, with a deadline.
"""

import math
import ssl
import time
from contextlib import suppress
from typing import Any, ClassVar, NamedTuple

from pika import frame, spec
from pika.credentials import ExternalCredentials

from busmon.sources.amqp.fedora_toml import FedoraToml, parameters, tls_context
from busmon.sources.amqp.frames import FRAME_MAX, FrameReader
from busmon.sources.base import Cause, ConnectionState, Disconnected, ProtocolError
from busmon.sources.line import Broker
from busmon.sources.session import CLOSE_TIMEOUT, IDLE_SECONDS, Session
from busmon.tls import UnusableFile

OPEN_TIMEOUT = 20.0  # seconds for the login and all that is asked after it
SILENT_HEARTBEATS = 1.5  # without a byte after which a connection counts as dead
CHANNEL = 1
CAPABILITIES = {"authentication_failure_close": True, "consumer_cancel_notify": True}
NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED = 404, 405, 406


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


class AmqpConnection(Session[Any]):
    """A connection with one channel."""

    _reader: FrameReader
    _close_timeout: ClassVar[float] = CLOSE_TIMEOUT

    def __init__(self, toml: FedoraToml, heartbeat: int, connection: ConnectionState) -> None:
        """Connect as fedora-messaging's file says; `heartbeat` is in seconds."""
        super().__init__(_broker(toml), FrameReader(), connection)
        self._toml, self._heartbeat = toml, heartbeat
        self._stage = HANDSHAKE
        self._deadline = math.inf  # of the answer that is awaited
        self._awaited: type | None = None
        self._answer: Any = None
        self._in_use = False  # then its end is said to the broker
        self._closing = False
        self._line.silence_limit = SILENT_HEARTBEATS * heartbeat

    def close(self) -> None:
        """Let the broker take what was sent last, and close in any case."""
        with suppress(Disconnected):
            if self._in_use and not self._line.failure:
                self._closing = True
                self._awaited, self._answer = spec.Connection.CloseOk, None
                self._send_method(spec.Connection.Close(200, "", 0, 0), channel=0)
                deadline = time.monotonic() + self._close_timeout
                while not self._answer and time.monotonic() < deadline:
                    self._receive(IDLE_SECONDS)
        super().close()

    def _open(self) -> None:
        """Log in and open the channel, within OPEN_TIMEOUT, as all that is asked after that."""
        self._deadline = time.monotonic() + OPEN_TIMEOUT
        self._log_in()
        self._call(spec.Channel.Open(), spec.Channel.OpenOk)

    def _open_again(self) -> None:
        """Open the channel again, which the broker has closed."""
        self._send_method(spec.Channel.CloseOk())
        self._call(spec.Channel.Open(), spec.Channel.OpenOk)

    def _log_in(self) -> None:
        self._write(frame.ProtocolHeader().marshal())
        start = self._answer_of(spec.Connection.Start)
        url = parameters(self._toml.amqp_url.get_secret_value())
        by_certificate = self._toml.certificate and self._toml.key
        credentials = ExternalCredentials() if by_certificate else url.credentials
        mechanism, response = credentials.response_for(start)
        self._stage = LOGIN
        if not mechanism:
            offered = start.mechanisms.decode(errors="replace")
            raise self._ended(f"the broker offers {offered}")
        properties = self._toml.client_properties | {"capabilities": CAPABILITIES}
        start_ok = spec.Connection.StartOk(properties, mechanism, response, "en_US")
        tune = self._call(start_ok, spec.Connection.Tune, channel=0)
        self._stage = OPEN
        self._reader.frame_max = min(tune.frame_max or FRAME_MAX, FRAME_MAX)
        tune_ok = spec.Connection.TuneOk(CHANNEL, self._reader.frame_max, self._heartbeat)
        self._send_method(tune_ok, channel=0)
        vhost = spec.Connection.Open(url.virtual_host)
        self._call(vhost, spec.Connection.OpenOk, channel=0)
        self._stage = CHANNEL_OPEN
        self._keepalive_seconds = self._heartbeat / 2

    def _call(self, method: Any, answer: type, channel: int = CHANNEL) -> Any:
        self._send_method(method, channel)
        return self._answer_of(answer)

    def _answer_of(self, kind: type) -> Any:
        self._awaited, self._answer = kind, None
        self._wait_for(lambda: self._answer, self._deadline, "the broker does not answer")
        return self._answer

    def _send_method(self, method: Any, channel: int = CHANNEL) -> None:
        self._write(frame.Method(channel, method).marshal())

    def _keepalive(self) -> bytes:
        heartbeat: bytes = frame.Heartbeat().marshal()
        return heartbeat

    def _hear(self, found: Any) -> None:
        match found:
            case spec.Connection.Close():
                raise self._ended(found.reply_text)
            case spec.Channel.Close():
                raise ChannelClosed(found.reply_code, found.reply_text)
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


def _broker(toml: FedoraToml) -> Broker:
    url = parameters(toml.amqp_url.get_secret_value())
    return Broker(
        host=url.host,
        port=url.port,
        context=_tls_context(toml) if toml.tls else None,
        address_setting=f"amqp_url in {toml.path}",
        ca_setting=f"ca_cert in [tls] of {toml.path}",
        certificate_setting=f"certfile and keyfile in [tls] of {toml.path}",
    )


def _tls_context(toml: FedoraToml) -> ssl.SSLContext:
    try:
        return tls_context(toml)
    except UnusableFile as error:
        reason = f"check {error.setting} in [tls] of {toml.path}: {error.why}"
        raise Disconnected(Cause.TLS, reason) from error
