"""One STOMP connection, from the login to the last acknowledgement.

stomp.py's own reads from a second thread, which would wait for the first one at every step.
Here whoever reads the session drives it, and each answer is awaited at one place.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from stomp.utils import calculate_heartbeats

from busmon.ledger.batch import Observation
from busmon.sources.base import Cause, ConnectionState, Disconnected, ProtocolError
from busmon.sources.line import CONNECT_TIMEOUT, Broker
from busmon.sources.session import CLOSE_TIMEOUT, IDLE_SECONDS, MAX_BATCH_BYTES, Session
from busmon.sources.stomp.acknowledgements import Acknowledgements
from busmon.sources.stomp.frames import Frame, FrameReader, write_frame
from busmon.sources.stomp.settings import StompBus

SILENT_HEARTBEATS = 2  # without a byte after which a connection counts as dead
SETTLE_SECONDS = 5.0  # after a message that came twice until the connection is made anew
QUOTED = 200  # characters of a broker's own words that go into the log
BAD_LOGIN = re.compile(r"access.refused|authenti|credential|login|passw|passcode|user name")

log = logging.getLogger(__name__)


# The headers that busmon reads. A publisher can add any number of others.
ACKNOWLEDGED_BY = ("subscription", "ack", "message-id")
OF_MESSAGE = {"destination", "timestamp", "redelivered", "amqp-message-id"}
OF_SESSION = {"version", "server", "heart-beat", "receipt-id", "message"}


class Received(NamedTuple):
    """The headers that acknowledge a message, and what is to be recorded of it."""

    headers: dict[str, str]
    observation: Observation


class StompSession(Session[Frame]):
    """A connection that judges each message as soon as it is read: no body waits in memory."""

    def __init__(
        self,
        broker: Broker,
        settings: StompBus,
        judge: Callable[[Frame, str], Observation],
        connection: ConnectionState,
    ) -> None:
        """Connect. `judge` is given each MESSAGE, and the broker's name for itself."""
        super().__init__(broker, FrameReader(header_names(settings)), connection)
        self._settings, self._judge = settings, judge
        self._refusal = Cause.LOGIN  # what an ERROR means at this stage
        self._connected: dict[str, str] | None = None  # the headers of the answer to the login
        self._receipts: set[str] = set()  # that are awaited
        # Begins the ids of the subscriptions. ActiveMQ sends no length with a text message, so a
        # publisher can end its frame with a NUL; what follows does not know this.
        self._secret = secrets.token_hex(8)
        self._received: list[Received] = []
        self._bytes = 0  # of their bodies
        self._end: Disconnected | None = None  # came after what was received
        self._acknowledgements = Acknowledgements(settings.ack, settings.prefetch)
        self._answer_timeout = max(CONNECT_TIMEOUT, SILENT_HEARTBEATS * settings.heartbeat)
        self._line.silence_limit = self._answer_timeout

    def open(self) -> None:
        """Log in, and subscribe to every destination."""
        self._send("CONNECT", self._login_headers())
        self._await(lambda: self._connected, "the login")
        answer = self._connected or {}
        if (version := answer.get("version", "1.0")) != "1.2":
            raise self._ended(Cause.NETWORK, f"the broker speaks STOMP {version}, not 1.2")
        self._settle_heartbeats(answer.get("heart-beat", ""))
        self._refusal = Cause.DENIED
        self._receipts = set(self._settings.destinations)
        for destination in self._settings.destinations:
            headers = subscription_headers(self._settings, destination)
            self._send("SUBSCRIBE", headers | {"id": self._secret + destination})
        self._await(lambda: not self._receipts, "the subscription")
        self._refusal = Cause.NETWORK

    def take(self) -> Sequence[Received]:
        """Wait for messages; return a batch of at least one.

        What came before the end of the connection is a batch, too: if it was not acknowledged,
        the broker would send it again, and with it the frame that ended the connection.
        """
        if self._end:
            raise self._end
        try:
            while not self._received:
                self._check_doubled()
                self._read(IDLE_SECONDS)
            self._gather(self._full)
        except Disconnected as error:
            if not self._received:
                raise
            self._end = error
        received, self._received, self._bytes = self._received, [], 0
        return received

    def acknowledge(self, batch: Sequence[Received]) -> None:
        """Acknowledge a batch."""
        self._write(self._acknowledgements.frames(headers for headers, _ in batch))

    def leave(self) -> None:
        """Say goodbye; the broker's receipt shows that it has every acknowledgement."""
        with suppress(Disconnected):
            self._receipts = {"leave"}
            self._send("DISCONNECT", {"receipt": "leave"})
            deadline = time.monotonic() + CLOSE_TIMEOUT
            while self._receipts and time.monotonic() < deadline:
                self._receive(IDLE_SECONDS)

    def _login_headers(self) -> dict[str, str]:
        settings = self._settings
        beat = settings.heartbeat * 1000  # in milliseconds, as in the protocol
        headers = {
            "accept-version": "1.2",
            "host": settings.vhost or self._broker.host,
            "heart-beat": f"{beat},{beat}",
            "login": settings.login,
            "passcode": settings.passcode.get_secret_value() if settings.passcode else None,
            "client-id": settings.client_id,
        }
        return {name: value for name, value in headers.items() if value is not None}

    def _settle_heartbeats(self, offered: str) -> None:
        seconds = self._settings.heartbeat
        if not re.fullmatch("[0-9]{1,9},[0-9]{1,9}", offered):
            offered = "0,0"
        sent, expected = calculate_heartbeats(offered.split(","), (seconds * 1000, seconds * 1000))
        if sent:
            self._keepalive_seconds = sent / 2000
        if expected:
            self._line.silence_limit = SILENT_HEARTBEATS * expected / 1000
            return
        instead = f"TCP keepalive every {seconds} s instead"
        log.warning("%s sends no heart-beats; %s", self._broker, instead)
        self._line.keep_alive(seconds)

    def _check_doubled(self) -> None:
        doubled_at = self._acknowledgements.doubled_at
        if doubled_at is not None and time.monotonic() - doubled_at > SETTLE_SECONDS:
            doubled = "the broker sent messages twice, and may keep others back: connecting anew"
            raise self._ended(Cause.NETWORK, doubled)

    def _full(self) -> bool:
        enough = len(self._received) >= self._settings.prefetch // 2
        return enough or self._bytes >= MAX_BATCH_BYTES

    def _await(self, answered: Callable[[], object], what: str) -> None:
        timeout = self._answer_timeout
        silent = f"{self._broker}: no answer to {what} within {timeout:g} s"
        self._wait_for(answered, time.monotonic() + timeout, silent)

    def _send(self, command: str, headers: dict[str, str]) -> None:
        self._write(write_frame(command, headers))

    def _keepalive(self) -> bytes:
        return b"\n"

    def _hear(self, frame: Frame) -> None:
        match frame.command:
            case "MESSAGE" if self._connected and self._asked_for(frame.headers):
                frame.headers["subscription"] = frame.headers["subscription"][len(self._secret) :]
                observation = self._judge(frame, self._connected.get("server", ""))
                known = {name: frame.headers.get(name, "") for name in ACKNOWLEDGED_BY}
                self._received.append(Received(known, observation))
                self._bytes += len(frame.body)
            case "RECEIPT" if frame.headers.get("receipt-id") in self._receipts:
                self._receipts.remove(frame.headers["receipt-id"])
            case "CONNECTED" if self._connected is None:
                self._connected = frame.headers
            case "ERROR":
                raise self._refused(frame)
            case _:
                raise ProtocolError(f"{frame.command[:QUOTED]!r} that nobody asked for")

    def _asked_for(self, headers: dict[str, str]) -> bool:
        return "ack" in headers and headers.get("subscription", "").startswith(self._secret)

    def _lost(self) -> Disconnected:
        lost = self._line.lost()
        if lost.cause is Cause.NETWORK and self._refusal is Cause.LOGIN:
            detail = f"{lost.detail} before it answered the login; check tls"
            return Disconnected(Cause.NETWORK, detail)
        return lost

    def _refused(self, frame: Frame) -> Disconnected:
        """Return what an ERROR means at this stage.

        Its `message` header is quoted. Its body is not: it can hold anything, but helps to
        find a bad login, for which RabbitMQ's header only says "Bad CONNECT".
        """
        text = frame.headers.get("message", "no reason given")
        words = text[:QUOTED]
        everything = f"{text} {frame.body.decode(errors='replace')}".lower()
        if self._refusal is Cause.DENIED:
            return self._ended(Cause.DENIED, f"the broker refused the subscription: {words}")
        if self._refusal is Cause.LOGIN:
            return self._ended(*_login_refused(everything, words))
        if "cancel" in everything:
            return self._ended(Cause.CANCELLED, f"the broker ended the subscription: {words}")
        return self._ended(Cause.NETWORK, f"closed by the broker: {words}")

    def _ended(self, cause: Cause, detail: str) -> Disconnected:
        return Disconnected(cause, f"{self._broker}: {detail}")


def _login_refused(everything: str, words: str) -> tuple[Cause, str]:
    if "already connected" in everything:
        return Cause.DENIED, f"is there another client with this client_id? {words}"
    if BAD_LOGIN.search(everything):
        return Cause.LOGIN, f"check login, passcode or certificate: {words}"
    if "virtual host" in everything:
        return Cause.DENIED, f"check vhost: {words}"
    return Cause.NETWORK, f"closed by the broker: {words}"


def header_names(settings: StompBus) -> set[str]:
    """Return the names of the headers that busmon reads with these settings."""
    of_settings = {settings.id_header, settings.topic_header}
    return OF_SESSION | OF_MESSAGE | of_settings | set(ACKNOWLEDGED_BY)


def subscription_headers(settings: StompBus, destination: str) -> dict[str, str]:
    """Return the headers for ActiveMQ and those for RabbitMQ; each ignores the other's."""
    prefetch = str(settings.prefetch)
    headers = {
        "destination": destination,
        "receipt": destination,
        "ack": settings.ack,
        "activemq.prefetchSize": prefetch,
        "prefetch-count": prefetch,
    }
    if settings.client_id and not destination.startswith("/queue/"):
        # RabbitMQ has no client ids, so its queue's name must be unlike that of others.
        name = f"{settings.client_id}:{destination}"
        headers |= {"activemq.subscriptionName": name}
        headers |= {"durable": "true", "auto-delete": "false", "x-queue-name": name}
    return headers
