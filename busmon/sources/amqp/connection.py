"""A connection to Fedora's broker: fedora-messaging's own, with the true reason of its end.

fedora-messaging reconnects by itself, with delays of up to an hour, reads the certificates
only once, logs nothing while a broker is down, and says the same for a wrong password,
certificate and CA. So each connection here is a service of its own, that tries once.
"""

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pika.exceptions as amqp
from fedora_messaging.config import conf
from fedora_messaging.exceptions import BaseException as FedoraMessagingError
from fedora_messaging.exceptions import ConfigurationException
from fedora_messaging.twisted.protocol import FedoraMessagingProtocolV2
from fedora_messaging.twisted.service import FedoraMessagingServiceV2
from OpenSSL import SSL
from pika.connection import Connection as Connecting
from pika.spec import Connection as Methods
from service_identity import VerificationError
from twisted.internet import defer, reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from busmon.sources.amqp.fedora_toml import FedoraToml, tls_context
from busmon.sources.amqp.frames import Delivery, DeliveryReader
from busmon.sources.base import Cause, Disconnected
from busmon.sources.tls import UnusableFile

CLOSING = 2.0  # seconds for the broker to say goodbye
MISSED = 3  # half heartbeats without a byte after which a connection counts as dead

# What ends a connection, or an attempt, without being anybody's bug.
ENDS = (
    amqp.AMQPError,
    FedoraMessagingError,
    SSL.Error,
    VerificationError,
    ConnectError,
    ConnectionClosed,
    DNSLookupError,
    defer.TimeoutError,
)

# What it means when the broker ends a connection at that stage of opening it.
STAGES: dict[int, type[Exception]] = {
    Connecting.CONNECTION_PROTOCOL: amqp.IncompatibleProtocolError,
    Connecting.CONNECTION_START: amqp.ProbableAuthenticationError,
    Connecting.CONNECTION_TUNE: amqp.ProbableAccessDeniedError,
}

# The first that fits tells what the end of a connection comes from, and what to check.
CAUSES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Cause, str], ...] = (
    (
        (amqp.AuthenticationError, amqp.ProbableAuthenticationError),
        Cause.LOGIN,
        "the login is not accepted: check amqp_url and [tls] in {file}",
    ),
    (
        amqp.ProbableAccessDeniedError,
        Cause.LOGIN,
        "logged in, but not let into the virtual host: check amqp_url in {file}",
    ),
    (
        VerificationError,
        Cause.TLS,
        "the broker's certificate is for another host: check amqp_url in {file}",
    ),
    (
        amqp.IncompatibleProtocolError,
        Cause.NETWORK,
        "no AMQP there, or TLS where amqps is not said: check amqp_url in {file}",
    ),
    (SSL.Error, Cause.TLS, "TLS failed: check ca_cert, certfile and keyfile in [tls] of {file}"),
    (amqp.ConsumerCancelled, Cause.CANCELLED, "the broker cancelled the consumer: queue deleted?"),
    (amqp.ChannelClosedByBroker, Cause.DENIED, "the broker refuses"),
    (defer.TimeoutError, Cause.SILENT, "the broker does not answer"),
    (DNSLookupError, Cause.NETWORK, "unknown host: check amqp_url in {file}"),
)


class Connection:
    """One attempt to connect; to be used in the reactor's thread only."""

    def __init__(self, toml: FedoraToml, heartbeat: int, keep: Callable[[Delivery], None]) -> None:
        """Prepare to connect; `keep` is given what a consumer is delivered."""
        self._toml = toml
        self._protocol: _Protocol | None = None
        self._opened: Deferred[FedoraMessagingProtocolV2] = Deferred()
        try:
            if toml.tls:  # fedora-messaging would ask the terminal for the pass phrase of a key
                tls_context(toml)
            conf.load_config(str(toml.path))  # the service takes [tls] and more from there
            url = _with_heartbeat(toml.amqp_url.get_secret_value(), heartbeat)
            self._service = FedoraMessagingServiceV2(url, publish_confirms=False)
        except UnusableFile as error:
            why = f"check {error.setting} in [tls] of {toml.path}: {error.why}"
            raise Disconnected(Cause.TLS, why) from error
        except (ConfigurationException, OSError, SSL.Error, ValueError) as error:
            raise Disconnected(Cause.TLS, f"check [tls] in {toml.path}: {error}") from error
        factory: Any = self._service.factory
        factory.maxRetries = 0
        factory.noisy = False
        factory.protocol = partial(_Protocol, heartbeat, keep, self._begin)
        factory.clientConnectionFailed = lambda _connector, failure: self._opened.errback(failure)

    async def open(self) -> FedoraMessagingProtocolV2:
        """Return the protocol, logged in."""
        self._service.factory.when_connected().chainDeferred(self._opened)
        self._service.startService()  # type: ignore[no-untyped-call]  # Twisted's
        return await self._opened

    async def close(self) -> None:
        """Send what waits to be sent, acknowledgements first, and close."""
        if self._protocol and self._protocol.is_open:
            await _within(CLOSING, self._protocol.close())
        if self._protocol:
            self._protocol.abort()
        await _within(CLOSING, self._service.stopService())

    def ended(self, error: BaseException) -> Disconnected:
        """Return why this connection, or the attempt, has ended, and what to check."""
        if self._protocol and self._protocol.silent:
            return Disconnected(Cause.SILENT, "no sign of life from the broker")
        if self._protocol and self._protocol.reason:
            error = self._protocol.reason
        for kinds, cause, hint in CAUSES:
            if isinstance(error, kinds):
                return Disconnected(cause, f"{hint.format(file=self._toml.path)} ({_text(error)})")
        return Disconnected(Cause.NETWORK, f"{self._toml.broker}: {_text(error)}")

    def _begin(self, protocol: "_Protocol") -> None:
        self._protocol = protocol


class _Protocol(FedoraMessagingProtocolV2):
    """Remembers why it ended, which pika's Twisted adapter forgets, and watches for silence.

    pika notices silence, too, but ends with a TLS goodbye that a dead peer never answers.
    """

    def __init__(
        self,
        heartbeat: int,
        keep: Callable[[Delivery], None],
        begin: Callable[["_Protocol"], None],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._reader = DeliveryReader(keep)
        self.silent = False
        self.reason: BaseException | None = None
        self._begin = begin
        self._alive = False
        self._pause = heartbeat / 2
        self._silence = 0  # pauses; not seconds, which pass while a batch is recorded, too
        self._watchdog = LoopingCall(self._listen)

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        self._alive = True
        self._begin(self)
        self._impl.callbacks.add(0, Methods.Close, self._on_close)
        self._watchdog.start(self._pause, now=False)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._silence = 0
        try:
            others = self._reader.feed(data)
            self._impl.bytes_received += len(data) - len(others)  # else pika hears no heart beat
            super().dataReceived(others)
        except Exception as error:  # noqa: BLE001 - not AMQP; Twisted would log a traceback
            self.reason = amqp.IncompatibleProtocolError(repr(error))
            self.abort()

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        self._alive = False
        self._watchdog.stop()
        kind = STAGES.get(self._impl.connection_state)
        if isinstance(reason.value, SSL.Error | VerificationError):
            self.reason = reason.value
        elif kind and not self.reason:
            self.reason = kind(reason.getErrorMessage())
        super().connectionLost(reason)

    def abort(self) -> None:
        if self._alive:
            self.transport.abortConnection()

    def _on_close(self, frame: Any) -> None:
        kind = STAGES.get(self._impl.connection_state, Exception)
        self.reason = kind(frame.method.reply_text)

    def _listen(self) -> None:
        self._silence += 1
        if self._silence > MISSED:
            self.silent = True
            self.abort()


def _with_heartbeat(url: str, heartbeat: int) -> str:
    """Return the URL with a heartbeat: Fedora's broker proposes one of ten minutes."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | {"heartbeat": str(heartbeat)}
    return parts._replace(query=urlencode(query)).geturl()


async def _within(seconds: float, deferred: Deferred[Any] | None) -> None:
    """Wait for it, but not for ever, and whatever becomes of it."""
    if deferred is not None:
        await deferred.addTimeout(seconds, reactor).addErrback(lambda _failure: None)


def _text(error: BaseException) -> str:
    """Return what the error says; TLS errors are lists of library, function and reason."""
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return ", ".join(reason for *_, reason in error.args[0]) or "connection closed"
    return str(error) or type(error).__name__
