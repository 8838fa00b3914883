"""One STOMP connection: stomp.py's frames and heart-beats, with an end for every wait."""

import logging
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import stomp

from busmon.settings import StompBus
from busmon.sources import Cause, Disconnected
from busmon.sources.stomp_frames import FrameReader
from busmon.sources.stomp_socket import PATIENCE, disconnected, open_socket, tls_context

BEATS_MISSED = 2  # heart-beats that may be late before the connection counts as silent
GATHERING = 0.005  # seconds for more to come: a commit costs less in large batches
FAREWELL = 2.0  # seconds for the broker to confirm the end
ROOM = 4 * 1024**2  # bytes not recorded yet, above which nothing more is read
QUOTED = 200  # characters of a broker's own words that go into the log
BAD_LOGIN = re.compile(r"access.refused|authenti|credential|login|passw|passcode|user name", re.I)

# What sending on a lost connection raises; the last where it is lost at that very moment.
LOST = (OSError, stomp.exception.StompException, AttributeError)

log = logging.getLogger(__name__)


class Stopped(Exception):
    """The source was asked to stop while it waited for the broker."""


class Inbox:
    """stomp.py's listener: keeps what its thread reports for the source's own thread.

    No method raises, for an exception here would drop the connection.
    """

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self.connected: Any = None
        self.messages: list[Any] = []
        self.size = 0  # bytes of the messages that are not recorded
        self.receipts: set[str] = set()
        self.error: Any = None
        self.closed = False
        self.left = False  # nobody takes anything more

    def on_connected(self, frame: Any) -> None:
        """Keep the broker's answer to the login."""
        with self._changed:
            self.connected = frame
            self._changed.notify_all()

    def on_message(self, frame: Any) -> None:
        """Keep a message; with too much of them wait, and with that the broker does, too."""
        with self._changed:
            if self.left:
                return
            self.messages.append(frame)
            self.size += len(frame.body or b"")
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.size < ROOM or self.left)

    def release(self, frames: Iterable[Any]) -> None:
        """Make room: these messages are recorded."""
        with self._changed:
            self.size -= sum(len(frame.body or b"") for frame in frames)
            self._changed.notify_all()

    def leave(self) -> None:
        """Keep nothing more, and don't wait: there will be no more room."""
        with self._changed:
            self.left = True
            self._changed.notify_all()

    def on_receipt(self, frame: Any) -> None:
        """Keep a receipt's id."""
        with self._changed:
            self.receipts.add(frame.headers.get("receipt-id"))
            self._changed.notify_all()

    def on_error(self, frame: Any) -> None:
        """Keep what the broker says before it closes."""
        with self._changed:
            self.error = frame
            self._changed.notify_all()

    def on_disconnected(self) -> None:
        """Note the end of the connection; the socket knows why."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def on_heartbeat_timeout(self) -> None:
        """Do nothing: the socket notices silence first. stomp.py demands this method."""


class Session:
    """One connection to one broker, from the login to the farewell."""

    def __init__(
        self,
        settings: StompBus,
        broker: tuple[str, int],
        changed: threading.Condition,
        stopping: threading.Event,
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._changed = changed
        self._stopping = stopping
        self._inbox = Inbox(changed)
        self._socket = open_socket(*broker, tls_context(settings) if settings.tls else None)
        self._patience = max(PATIENCE, BEATS_MISSED * settings.heartbeat)  # for an answer
        self._socket.patience = self._patience
        beat = settings.heartbeat * 1000  # in milliseconds, as in the protocol
        self._connection = stomp.Connection12(
            [broker],
            auto_decode=False,
            vhost=settings.vhost,
            heartbeats=(beat, beat),
            heart_beat_receive_scale=2 * BEATS_MISSED,  # later than the socket's patience
        )
        # With a socket that is there already, stomp.py does not make one itself.
        self._connection.transport.socket = self._socket
        self._connection.transport.current_host_and_port = broker
        reader = FrameReader(self._connection.transport.receive)
        self._connection.transport._BaseTransport__read = reader.read  # noqa: SLF001 - the only way in
        self._reader: threading.Thread | None = None
        self._connection.transport.override_threading(self._start_reader)
        self._connection.set_listener("busmon", self._inbox)

    def _start_reader(self, loop: Callable[[], None]) -> threading.Thread:
        host, port = self._broker
        self._reader = threading.Thread(target=loop, name=f"stomp-{host}:{port}", daemon=True)
        self._reader.start()
        return self._reader

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
        self._wait_for(lambda: self._inbox.connected, "the login", Cause.LOGIN)
        answer = self._inbox.connected.headers
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
            "%s:%d sends no heart-beats; TCP keepalive every %d s instead", *self._broker, wanted
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
        self._wait_for(lambda: wanted <= self._inbox.receipts, "the subscription", Cause.DENIED)

    def take(self) -> list[Any]:
        """Wait for messages, and return all received so far; Stopped where asked to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._inbox.messages or self._over())
            few = len(self._inbox.messages) < self._settings.prefetch // 2
        if few:
            self._stopping.wait(GATHERING)
        with self._changed:
            self._check(Cause.NETWORK)
            frames, self._inbox.messages = self._inbox.messages, []
        return frames

    def acknowledge(self, frames: Collection[Any]) -> None:
        """Acknowledge a batch: the last message of each subscription, or each message."""
        self._inbox.release(frames)
        if self._settings.ack == "client":
            last: dict[str, Any] = {}
            for frame in frames:
                # Out and in again, since the acknowledgements must keep the order of delivery:
                # RabbitMQ's reach over all subscriptions, and refuse to go back.
                last.pop(frame.headers["subscription"], None)
                last[frame.headers["subscription"]] = frame
            frames = last.values()
        with self._sending(Cause.NETWORK):
            for frame in frames:
                self._connection.ack(frame.headers["ack"])

    def leave(self) -> None:
        """Say goodbye; the broker's receipt tells that it has taken every acknowledgement."""
        self._inbox.leave()
        if not self._connection.is_connected():
            return
        with suppress(*LOST):
            self._connection.disconnect()
            with self._changed:
                self._changed.wait_for(lambda: self._inbox.closed, FAREWELL)

    def close(self) -> None:
        """End the connection and its threads, whatever state they are in."""
        self._inbox.leave()
        self._socket.close()
        if self._reader:
            self._reader.join()
        self._socket.release()

    def _over(self) -> bool:
        return bool(self._stopping.is_set() or self._inbox.error or self._inbox.closed)

    @contextmanager
    def _sending(self, refusal: Cause) -> Iterator[None]:
        try:
            yield
        except LOST:
            with self._changed:  # the thread that reads knows better why
                self._changed.wait_for(lambda: self._inbox.closed, FAREWELL)
            self._check(refusal, over=True)

    def _wait_for(self, met: Callable[[], Any], what: str, refusal: Cause) -> None:
        with self._changed:
            self._changed.wait_for(lambda: met() or self._over(), self._patience)
            self._check(refusal)
            if not met():
                silent = f"no answer to {what} within {self._patience:g} s"
                raise Disconnected(Cause.SILENT, silent)

    def _check(self, refusal: Cause, *, over: bool = False) -> None:
        """Raise what ended the session, if anything did; `over`: something surely did."""
        if self._stopping.is_set():
            raise Stopped
        if self._inbox.error:
            raise refused(self._inbox.error, refusal)
        if (over or self._inbox.closed) and self._socket.failure:
            raise disconnected(self._socket.failure)
        if over or self._inbox.closed:
            check = " before it answered the login; check tls" if refusal is Cause.LOGIN else ""
            raise Disconnected(Cause.NETWORK, f"closed by the broker{check}")


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
    """Return what ActiveMQ and RabbitMQ want to be told; each ignores the other's."""
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
