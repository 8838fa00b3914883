"""One STOMP connection: stomp.py's frames and heart-beats, with an end for every wait.

One thread reads, records and acknowledges. stomp.py's own would read meanwhile, and the two
would wait for each other at every step; here it is not started, and only its thread that
sends heart-beats is.
"""

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import stomp

from busmon.sources.base import Cause, Disconnected
from busmon.sources.stomp.frames import FrameReader
from busmon.sources.stomp.settings import StompBus
from busmon.sources.stomp.socket import CONNECT_TIMEOUT, disconnected, open_socket
from busmon.text import format_address

BEATS_MISSED = 2  # heart-beats that may be late before the connection counts as silent
UNHEARD = 1000  # heart-beats after which stomp.py may think so, too: long after the socket
IDLE = 0.25  # seconds to wait for something to read, before it looks whether to stop
GATHERING = 0.001  # seconds for more to come: a commit costs less in large batches
BATCH_SIZE = 1024**2  # bytes of bodies after which a batch is recorded, so that none takes long
SETTLING = 5.0  # seconds after a message that came twice until the connection is made anew
CLOSE_TIMEOUT = 2.0  # seconds for the broker to confirm the end
QUOTED = 200  # characters of a broker's own words that go into the log
BAD_LOGIN = re.compile(r"access.refused|authenti|credential|login|passw|passcode|user name", re.I)

# What sending on a lost connection raises; the last where it is lost at that very moment.
LOST = (OSError, stomp.exception.StompException, AttributeError)

log = logging.getLogger(__name__)


class Stopped(Exception):
    """The source was asked to stop while it waited for the broker."""


class BrokerReplies:
    """What the broker said; of all but messages stomp.py has to know, too, and is listened to."""

    def __init__(self) -> None:
        self.connected: Any = None
        self.messages: deque[Any] = deque()
        self.receipts: set[str] = set()
        self.error: Any = None
        self.closed = False

    def on_connected(self, frame: Any) -> None:
        """Keep the broker's answer to the login."""
        self.connected = frame

    def on_receipt(self, frame: Any) -> None:
        """Keep a receipt's id."""
        self.receipts.add(frame.headers.get("receipt-id"))

    def on_error(self, frame: Any) -> None:
        """Keep what the broker says before it closes."""
        self.error = frame

    def on_disconnected(self) -> None:
        """Note the end of the connection; the socket knows why."""
        self.closed = True


class Session:
    """One connection to one broker, from the login to the farewell."""

    def __init__(
        self, settings: StompBus, broker: tuple[str, int], stopping: threading.Event
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._stopping = stopping
        self._heard = BrokerReplies()
        self._frames = FrameReader()
        self._acknowledged: dict[tuple[str, str], None] = {}  # subscription and id, in order
        self._doubled: float | None = None  # when the broker last sent a message twice
        context = settings.tls_context() if settings.tls else None
        self._socket = open_socket(*broker, context)
        self._patience = max(CONNECT_TIMEOUT, BEATS_MISSED * settings.heartbeat)  # for an answer
        self._socket.patience = self._patience
        beat = settings.heartbeat * 1000  # in milliseconds, as in the protocol
        self._connection = stomp.Connection12(
            [broker],
            auto_decode=False,
            vhost=settings.vhost,
            heartbeats=(beat, beat),
            heart_beat_receive_scale=UNHEARD,
        )
        # With a socket that is there already, stomp.py does not make one itself.
        self._connection.transport.socket = self._socket
        self._connection.transport.current_host_and_port = broker
        self._connection.transport.override_threading(lambda _loop: None)
        self._connection.set_listener("busmon", self._heard)

    def log_in(self) -> str:
        """Log in, settle the heart-beats, and return the broker's name for itself."""
        passcode = self._settings.passcode
        client_id = self._settings.client_id
        with self._sending(Cause.LOGIN):
            self._connection.connect(
                self._settings.login,
                passcode.get_secret_value() if passcode else None,
                headers={"client-id": client_id} if client_id else None,
            )
        self._wait_for(lambda: self._heard.connected, "the login", Cause.LOGIN)
        answer = self._heard.connected.headers
        if (version := answer.get("version", "1.0")) != "1.2":
            raise Disconnected(Cause.NETWORK, f"the broker speaks STOMP {version}, not 1.2")
        self._settle_heartbeat(answer.get("heart-beat", "0,0"))
        return str(answer.get("server", ""))

    def _settle_heartbeat(self, offered: str) -> None:
        wanted = self._settings.heartbeat
        sends, _, _ = offered.partition(",")
        milliseconds = int(sends) if sends.strip().isdecimal() else 0
        if milliseconds:
            self._socket.patience = BEATS_MISSED * max(wanted, milliseconds / 1000)
            return
        log.warning(
            "%s sends no heart-beats; TCP keepalive every %d s instead",
            format_address(*self._broker),
            wanted,
        )
        self._socket.patience = None
        self._socket.keep_alive(wanted)

    def subscribe(self) -> None:
        """Subscribe to every destination, and wait until the broker has confirmed all."""
        with self._sending(Cause.DENIED):
            for destination in self._settings.destinations:
                self._connection.subscribe(
                    destination,
                    id=destination,
                    ack=self._settings.ack,
                    headers=subscription_headers(self._settings, destination),
                )
        wanted = set(self._settings.destinations)
        self._wait_for(lambda: wanted <= self._heard.receipts, "the subscription", Cause.DENIED)

    def take(self) -> Iterator[Any]:
        """Wait for messages, and give each of a batch; raises Stopped before the first only."""
        messages = self._heard.messages
        self._check(Cause.NETWORK)
        while not messages:
            self._read(IDLE)
            self._check(Cause.NETWORK)
        left, size = self._settings.prefetch // 2, BATCH_SIZE
        while messages or (left > 0 and size > 0 and self._more()):
            while messages:
                frame = messages.popleft()
                left, size = left - 1, size - len(frame.body or b"")
                yield frame

    def acknowledge(self, batch: Collection[dict[str, str]]) -> None:
        """Acknowledge messages, given their headers: the last of each subscription, or each."""
        if self._settings.ack == "client":
            last: dict[str, dict[str, str]] = {}
            for headers in batch:
                # Out and in again, since the acknowledgements must keep the order of delivery:
                # RabbitMQ's reach over all subscriptions, and refuse to go back.
                last.pop(headers["subscription"], None)
                last[headers["subscription"]] = headers
            batch = last.values()
        with self._sending(Cause.NETWORK):
            for headers in batch:
                if self._settings.ack == "client" or self._is_first(headers):
                    self._connection.ack(headers["ack"])

    def _is_first(self, headers: dict[str, str]) -> bool:
        """Tell whether a message is not acknowledged yet, among as many as can be under way.

        After a restart ActiveMQ sends some of a durable subscription twice. It takes one
        acknowledgement of such a message, and ends the connection at the second. It can keep
        others back, too, until the next connection, so that this one should not last.
        """
        message = headers["subscription"], headers.get("message-id") or headers["ack"]
        if message in self._acknowledged:
            self._doubled = time.monotonic()
            return False
        self._acknowledged[message] = None
        if len(self._acknowledged) > self._settings.prefetch:
            del self._acknowledged[next(iter(self._acknowledged))]
        return True

    def leave(self) -> None:
        """Say goodbye; the broker's receipt tells that it has taken every acknowledgement."""
        if self._connection.is_connected():
            with suppress(*LOST):
                self._connection.disconnect()
            self._read_to_the_end()

    def close(self) -> None:
        """End the connection and stomp.py's thread, whatever state they are in."""
        self._connection.transport.disconnect_socket()
        self._socket.close()

    def _more(self) -> bool:
        return not self._stopping.is_set() and self._read(GATHERING)

    def _read(self, seconds: float) -> bool:
        """Read what has come or comes within that time; False where there is nothing."""
        received = self._socket.read(seconds)
        if received:
            for frame in self._frames.feed(received):
                if frame.cmd == "MESSAGE":
                    self._heard.messages.append(frame)
                else:
                    self._connection.transport.process_frame(frame, b"")
        elif received is not None:
            self._heard.closed = True
        return bool(received)

    def _read_to_the_end(self) -> None:
        deadline = time.monotonic() + CLOSE_TIMEOUT
        while not self._heard.closed and time.monotonic() < deadline:
            self._read(IDLE)
            self._heard.messages.clear()  # they come again

    @contextmanager
    def _sending(self, refusal: Cause) -> Iterator[None]:
        try:
            yield
        except LOST:
            self._read_to_the_end()  # it may tell why
            self._check(refusal, over=True)

    def _wait_for(self, met: Callable[[], Any], what: str, refusal: Cause) -> None:
        deadline = time.monotonic() + self._patience
        self._check(refusal)
        while not met():
            if time.monotonic() > deadline:
                silent = f"no answer to {what} within {self._patience:g} s"
                raise Disconnected(Cause.SILENT, silent)
            self._read(IDLE)
            self._check(refusal)

    def _check(self, refusal: Cause, *, over: bool = False) -> None:
        """Raise what ended the session, if anything did; `over`: something surely did."""
        if self._stopping.is_set():
            raise Stopped
        if self._heard.error:
            raise refused(self._heard.error, refusal)
        if (over or self._heard.closed) and self._socket.failure:
            raise disconnected(self._socket.failure)
        if over or self._heard.closed:
            check = " before it answered the login; check tls" if refusal is Cause.LOGIN else ""
            raise Disconnected(Cause.NETWORK, f"closed by the broker{check}")
        if self._doubled is not None and time.monotonic() - self._doubled > SETTLING:
            doubled = "the broker sent messages twice, and may keep others back: connecting anew"
            raise Disconnected(Cause.NETWORK, doubled)


def refused(frame: Any, refusal: Cause) -> Disconnected:
    """Return what an ERROR frame means where a refusal would have the cause `refusal`.

    Its `message` header is quoted. Its body is not: it can hold anything, but helps to
    tell a bad login, for which RabbitMQ's header only says "Bad CONNECT".
    """
    said = str(frame.headers.get("message", "no reason given"))
    words = said[:QUOTED]
    everything = f"{said} {(frame.body or b'').decode(errors='replace')}"
    if refusal is Cause.DENIED:
        return Disconnected(Cause.DENIED, f"the broker refused the subscription: {words}")
    if refusal is Cause.LOGIN and BAD_LOGIN.search(everything):
        return Disconnected(Cause.LOGIN, f"check login, passcode or certificate: {words}")
    if refusal is Cause.LOGIN and "virtual host" in everything.lower():
        return Disconnected(Cause.DENIED, f"check vhost: {words}")
    if "cancel" in everything.lower():
        return Disconnected(Cause.CANCELLED, f"the broker ended the subscription: {words}")
    return Disconnected(Cause.NETWORK, f"closed by the broker: {words}")


def subscription_headers(settings: StompBus, destination: str) -> dict[str, str]:
    """Return the headers for ActiveMQ and those for RabbitMQ; each ignores the other's."""
    prefetch = str(settings.prefetch)
    headers = {
        "receipt": destination,
        "activemq.prefetchSize": prefetch,
        "prefetch-count": prefetch,
    }
    if settings.client_id and not destination.startswith("/queue/"):
        # RabbitMQ has no client ids, so its queue's name must be unlike that of others.
        name = f"{settings.client_id}:{destination}"
        headers |= {"activemq.subscriptionName": name}
        headers |= {"durable": "true", "auto-delete": "false", "x-queue-name": name}
    return headers
