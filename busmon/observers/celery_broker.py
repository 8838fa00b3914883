"""A connection to Celery's broker (Redis or Valkey): events are received, queues are measured.

Nothing is consumed from a queue of tasks, and nothing is sent to the workers.
"""

import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DEFAULT_PORT = 6379  # Redis's
TIMEOUT = 5.0  # seconds to connect, and for an answer
PING_INTERVAL = 5  # seconds without a byte, after which the broker is asked for a sign of life
MAX_UNANSWERED_PINGS = 5  # one a second

# Kombu keeps the tasks of each priority in a list of its own. The list of the first priority
# has the name of the queue. The workers configure which priorities there are.
LIST_SUFFIXES = ("", *(f"\x06\x16{priority}" for priority in range(1, 10)))


class BrokerSilent(Exception):
    """The broker gives no sign of life."""


class Broker:
    """One connection, open while `receive` runs. Redis, Kombu and Celery raise any exception."""

    def __init__(self, url: str, ca: Path | None) -> None:
        self._url = url
        self._ca = ca
        self._channel: Any = None

    def receive(
        self,
        on_event: Callable[[Mapping[str, Any]], None],
        on_tick: Callable[[bool], None],
        stopping: threading.Event,
    ) -> None:
        """Receive events until `stopping`.

        `on_tick` is called once a second and after each event, with whether the broker is
        known to answer.
        """
        from celery import Celery

        self._check_reachable()
        app = Celery("busmon", set_as_current=False, fixups=[])
        app.conf.broker_transport_options = {
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "socket_keepalive": True,
            "health_check_interval": PING_INTERVAL,
        }
        # In the app's settings, the environment would override the URL.
        with app.connection_for_read(self._url, ssl=self._tls()) as connection:
            receiver = app.events.Receiver(connection, handlers={"*": on_event})
            receiver.on_connection_error = _raise
            receiver.on_decode_error = _ignore

            def tick() -> None:
                receiver.should_stop = stopping.is_set()
                if (answers := self._answers()) is not None:
                    on_tick(answers)

            def ready(_connection: Any, channel: Any, _consumers: Any, **_options: Any) -> None:
                self._channel = channel
                receiver.on_iteration = tick

            receiver.on_consume_ready = ready
            receiver.capture(limit=None, timeout=None, wakeup=False)

    def queue_lengths(self, queues: Sequence[str]) -> dict[str, int]:
        """Return the number of tasks that wait in each queue; only while `receive` runs."""
        return queue_lengths(self._channel.client, queues)

    def _answers(self) -> bool | None:
        """Return whether the broker answers; None before the first wait for events."""
        subscription = self._channel.subclient
        if subscription.connection is None:
            return None
        subscription.check_health()
        unanswered = subscription.health_check_response_counter
        if unanswered >= MAX_UNANSWERED_PINGS:
            raise BrokerSilent("the broker does not answer")
        return not unanswered

    def _check_reachable(self) -> None:
        """Raise OSError if nothing listens. Redis's client would try for many seconds."""
        parts = urlsplit(self._url)
        address = parts.hostname or "", parts.port or DEFAULT_PORT
        socket.create_connection(address, TIMEOUT).close()

    def _tls(self) -> dict[str, str] | None:
        """Return options that check the certificate. By default, Kombu accepts any."""
        if not self._url.startswith("rediss:"):
            return None
        ca = {"ssl_ca_certs": str(self._ca)} if self._ca else {}
        return {"ssl_cert_reqs": "required"} | ca


def queue_lengths(client: Any, queues: Sequence[str]) -> dict[str, int]:
    """Return the number of tasks that wait in each queue, over all priorities."""
    with client.pipeline(transaction=False) as pipeline:
        for queue in queues:
            for suffix in LIST_SUFFIXES:
                pipeline.llen(f"{queue}{suffix}")
        answers = iter(pipeline.execute(raise_on_error=False))
    lengths = {queue: [next(answers) for _ in LIST_SUFFIXES] for queue in queues}
    # An answer that is no number is an error, of a key that is no list, for example.
    return {queue: sum(n for n in found if isinstance(n, int)) for queue, found in lengths.items()}


def _raise(error: Exception, _interval: float) -> None:
    """Raise instead of connecting again: CeleryObserver does that."""
    raise error


def _ignore(_message: Any, _error: Exception) -> None:
    """Ignore an event that cannot be decoded. Kombu would log its content."""
