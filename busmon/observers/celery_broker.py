"""A connection to Celery's broker (Redis or Valkey): events are received, queues are measured.

Nothing is consumed from a queue of tasks, and nothing is sent to the workers.
"""

import socket
import threading
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

DEFAULT_PORT = 6379  # Redis's
TIMEOUT = 5.0  # seconds to connect, and for an answer
PING_INTERVAL = 5  # seconds without a byte, after which the broker is asked for a sign of life
MAX_UNANSWERED_PINGS = 5  # one a second
SEPARATOR = "\x06\x16"  # Kombu's, between the name of a queue and a priority
# Kombu keeps the tasks of each priority in a list of its own. Its default is 0, 3, 6 and 9.
PRIORITY_STEPS = tuple(range(10))


class BrokerLost(Exception):
    """The connection failed or ended; the text says why."""


class Handler(Protocol):
    """What `Broker.receive` calls."""

    def receive(self, envelope: Mapping[str, Any]) -> None:
        """Take what was published as an event: decoded JSON."""

    def tick(self, answers: bool) -> None:
        """Do what is due. `answers` is whether the broker is known to answer.

        Called once a second, and after each event.
        """


@dataclass(frozen=True, slots=True)
class Keys:
    """How the workers name their keys: the transport options of Kombu that have these names."""

    global_keyprefix: str = ""
    sep: str = SEPARATOR
    priority_steps: Sequence[int] = PRIORITY_STEPS

    def lists(self, queue: str) -> list[str]:
        """Return the lists of a queue, without the prefix. That of priority 0 has its name."""
        return [f"{queue}{self.sep}{step}" if step else queue for step in self.priority_steps]


class Queues(NamedTuple):
    """What the broker says of the queues. A reply can be an error, which is no 0."""

    lengths: Mapping[str, int] = {}  # how many tasks wait
    refused: Sequence[str] = ()  # a line for each queue without a length
    used: bool = False  # whether Celery has ever used one of them


class Broker:
    """One connection, open while `receive` runs.

    Redis, Kombu and Celery raise any exception, also for what somebody publishes: for JSON that
    is too deep, a RecursionError. So not the type of an exception says whether the broker is
    lost, but whose code raised it.
    """

    def __init__(self, url: str, ca: Path | None, keys: Keys) -> None:
        self._url = url
        self._ca = ca
        self._keys = keys
        self._channel: Any = None

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port."""
        parts = urlsplit(self._url)
        return parts.hostname or "", parts.port or DEFAULT_PORT

    def receive(self, handler: Handler, stopping: threading.Event) -> None:
        """Receive events until `stopping`. Raises BrokerLost, and what the handler raises."""
        calls = _Calls(handler)
        try:
            self._receive(calls, stopping)
        except Exception as error:
            if calls.error:
                raise calls.error from None
            raise _lost(error) from error

    def _receive(self, handler: Handler, stopping: threading.Event) -> None:
        from celery import Celery

        self._check_reachable()
        app = Celery("busmon", set_as_current=False, fixups=[])
        app.conf.broker_transport_options = {
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "socket_keepalive": True,
            "health_check_interval": PING_INTERVAL,
            "global_keyprefix": self._keys.global_keyprefix,
        }
        # In the app's settings, the environment would override the URL.
        with app.connection_for_read(self._url, ssl=tls_options(self._url, self._ca)) as connection:
            receiver = app.events.Receiver(connection)
            receiver.on_connection_error = _raise

            def consumers(make: Any, channel: Any) -> list[Any]:
                # Instead of Kombu's message, which decompresses without a limit.
                channel.Message = _Envelope
                return [make(queues=[receiver.queue], on_message=take, no_ack=True)]

            def take(envelope: _Envelope) -> None:
                handler.receive(envelope.payload)

            def tick() -> None:
                receiver.should_stop = stopping.is_set()
                if (answers := self._answers()) is not None:
                    handler.tick(answers)

            def ready(_connection: Any, channel: Any, _consumers: Any, **_options: Any) -> None:
                self._channel = channel
                receiver.on_iteration = tick

            receiver.get_consumers = consumers
            receiver.on_consume_ready = ready
            receiver.capture(limit=None, timeout=None, wakeup=False)

    def measure(self, queues: Sequence[str]) -> Queues:
        """Return the state of the queues; only while `receive` runs. Raises BrokerLost."""
        try:
            return measure(self._channel.client, queues, self._keys)
        except Exception as error:
            raise _lost(error) from error

    def _answers(self) -> bool | None:
        """Return whether the broker answers; None before the first wait for events."""
        subscription = self._channel.subclient
        if subscription.connection is None:
            return None
        subscription.check_health()
        unanswered = subscription.health_check_response_counter
        if unanswered >= MAX_UNANSWERED_PINGS:
            raise BrokerLost("it does not answer")
        return not unanswered

    def _check_reachable(self) -> None:
        """Raise OSError if nothing listens. Redis's client would try for many seconds."""
        socket.create_connection(self.address, TIMEOUT).close()


class _HandlerFailed(Exception):
    """Ends `Receiver.capture`, which ignores some exceptions of the network."""


class _Calls:
    """Calls a handler, and keeps what it raises."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.error: Exception | None = None

    def receive(self, envelope: Mapping[str, Any]) -> None:
        self._call(self._handler.receive, envelope)

    def tick(self, answers: bool) -> None:
        self._call(self._handler.tick, answers)

    def _call(self, call: Callable[[Any], None], argument: object) -> None:
        try:
            call(argument)
        except Exception as error:
            self.error = error
            raise _HandlerFailed from error


class _Envelope:
    """What Kombu's consumer needs of a message: nothing of it is decoded yet."""

    errors = ()
    accept: Any = None

    def __init__(self, payload: Any, channel: Any = None) -> None:
        self.payload = payload
        self.channel = channel


def tls_options(url: str, ca: Path | None) -> dict[str, Any] | None:
    """Return options that check certificate and name. Kombu, and redis-py before 6, do not."""
    if not url.startswith("rediss:"):
        return None
    options: dict[str, Any] = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    return options | ({"ssl_ca_certs": str(ca)} if ca else {})


def measure(client: Any, queues: Sequence[str], keys: Keys) -> Queues:
    """Return the state of the queues, over all priorities."""
    with client.pipeline(transaction=False) as pipeline:
        for queue in queues:
            pipeline.smembers(f"_kombu.binding.{queue}")  # exists once a client has used it
            for name in keys.lists(queue):
                pipeline.llen(name)
        answers = iter(pipeline.execute(raise_on_error=False))
    lengths, refused, used = {}, [], False
    for queue in queues:
        binding = next(answers)
        used = used or (isinstance(binding, Set) and bool(binding))
        found = [next(answers) for _ in keys.priority_steps]
        if errors := [answer for answer in found if not isinstance(answer, int)]:
            refused.append(f"queue {queue}: {errors[0]}")
        else:
            lengths[queue] = sum(found)
    return Queues(lengths, refused, used)


def _lost(error: Exception) -> BrokerLost:
    if isinstance(error, BrokerLost):
        return error
    return BrokerLost(f"{type(error).__name__}: {error}")


def _raise(error: Exception, _interval: float) -> None:
    """Raise instead of connecting again: CeleryObserver does that."""
    raise error
