"""Watches Celery's workers: the events that they send, and the queues that they work on.

Events come by the broker's publish and subscribe (Redis or Valkey), which keeps nothing
for those who are away: with each new connection begins a new interval of `observed`.
Nothing is consumed from a queue of tasks, and nothing is said to the workers.
"""

import logging
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from prometheus_client.core import Metric
from pydantic import AfterValidator, Field, SecretStr

from busmon.ledger.ledger import Ledger, LedgerWriteError
from busmon.metrics.families import counter, gauge
from busmon.observers.base import Observer, ObserverSettings
from busmon.observers.celery_tasks import STATES, TaskEvents
from busmon.observers.celery_workers import Workers
from busmon.observers.health import ObserverHealth
from busmon.settings.section import File, Strings
from busmon.settings.units import Seconds
from busmon.text import format_items

PORT = 6379  # of Redis, where the URL has none
TIMEOUT = 5.0  # seconds for connecting and for an answer
PING = 5  # seconds of silence after which the broker is asked for a sign of life
UNANSWERED = 5  # such questions, one a second
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # seconds between attempts to connect
WRITING = 1.0  # seconds between two writes of events
ALIVE = 5.0  # seconds between two writes without any
FRESH = 3 * TIMEOUT  # seconds within which the next look is done
# Kombu keeps the tasks of each priority in a list of its own, and those of the first in
# one that is named as the queue is; which priorities there are is for the workers to set.
LISTS = ("", *(f"\x06\x16{priority}" for priority in range(1, 10)))

log = logging.getLogger(__name__)


def _redis_url(secret: SecretStr) -> SecretStr:
    """Refuse what is no Redis; the error must not repeat it, since it may hold a password."""
    try:
        parts = urlsplit(secret.get_secret_value())
        known = parts.scheme in {"redis", "rediss"} and parts.hostname and parts.port != 0
        if known and not parts.query and not parts.fragment:
            return secret
    except ValueError:
        pass
    raise ValueError("should be redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], or rediss://")


class CelerySettings(ObserverSettings):
    """`[audit.celery]`: the workers' events and queues are watched."""

    broker: Annotated[SecretStr, AfterValidator(_redis_url)]  # with its password
    ca: File | None = None  # who signed the certificate of a rediss:// broker
    tasks: Annotated[Strings, Field(min_length=1)] = ("task.steve_jobs.process_message",)
    queues: Strings = ("short-running",)
    interval: Seconds = 15

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See Section."""
        if not (find_spec("celery") and find_spec("redis")):
            yield "", 'needs Celery: install busmon with its extra "celery"'
        if "ca" in given and not str(given.get("broker")).startswith("rediss:"):
            yield "ca", "needs a broker of rediss://"

    def make_observer(self, ledger: Ledger) -> Observer:
        """See ObserverSettings."""
        return CeleryObserver(self, ledger)

    def describe(self) -> str:
        """See ObserverSettings."""
        tasks, queues = format_items(self.tasks, "task"), format_items(self.queues, "queue")
        return f"behind {self.bus}, {tasks}; {queues}"


class Silent(Exception):
    """The broker gives no sign of life."""


class CeleryObserver:
    """The workers behind one bus's listener."""

    kind = "celery"

    def __init__(self, settings: CelerySettings, ledger: Ledger) -> None:
        self.bus = settings.bus
        self._name = f"{self.kind}:{self.bus}"
        self._sight = ObserverHealth(self._name)
        self._settings = settings
        self._ledger = ledger
        self._events = TaskEvents(settings.tasks)
        self._lengths: Mapping[str, int] = {}
        self._next_write = self._next_lengths = 0.0
        self._unbroken = False  # whether no event was lost since the last write
        with ledger.read() as tables:
            self._workers = Workers(tables.tasks.exist())

    def run(self, stopping: threading.Event) -> None:
        """Watch until `stopping`, with backoff and jitter between two connections."""
        # Kombu's warnings may show what is in an event, and come again as a problem of ours.
        logging.getLogger("kombu").setLevel(logging.CRITICAL)
        delay = FIRST_DELAY
        while not stopping.is_set():
            started = time.monotonic()
            self._unbroken = False
            try:
                self._session(stopping)
            except Exception as error:  # Redis, Kombu and Celery raise what they like
                self._sight.blind(f"{type(error).__name__}: {error}")
                log.debug("%s: the connection ended", self._name, exc_info=True)
            self._lengths = {}
            if time.monotonic() - started > LONGEST_DELAY:
                delay = FIRST_DELAY
            stopping.wait(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret
            delay = min(delay * 2, LONGEST_DELAY)

    def up(self) -> bool:
        """Tell whether the broker is connected, and no worker keeps its tasks to itself."""
        return self._sight.problem() is None

    def problem(self) -> str | None:
        """Return why it does not see, or None where it does."""
        return self._sight.problem()

    def lengths(self) -> Mapping[str, int]:
        """Return how many tasks wait in each queue; none while that is not known."""
        return self._lengths

    def events(self) -> Counter[str]:
        """Return how many events came since the start, of all configured tasks together."""
        counts: Counter[str] = Counter()
        for (event, _task), number in self._events.counts.items():
            counts[event] += number
        return counts

    def collect(self) -> Iterator[Metric]:
        """Yield the events of the configured tasks, and the lengths of the queues."""
        yield counter(
            "busmon_celery_task_events_total",
            "Events of the workers by what happened to the task.",
            ["event", "task"],
            self._events.counts.items(),
        )
        yield gauge(
            "busmon_celery_queue_tasks",
            "Tasks that wait in the queue, those excepted that a worker has fetched already.",
            ["queue"],
            (((queue,), length) for queue, length in self._lengths.items()),
        )

    def _session(self, stopping: threading.Event) -> None:
        from celery import Celery

        url = self._settings.broker.get_secret_value()
        _reach(url)
        app = Celery("busmon", set_as_current=False, fixups=[])
        app.conf.broker_transport_options = {
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "socket_keepalive": True,
            "health_check_interval": PING,
        }
        # The URL is given here, since in the app's settings the environment would override it.
        with app.connection_for_read(url, ssl=_tls(url, self._settings.ca)) as connection:
            receiver = app.events.Receiver(connection, handlers={"*": self._note})
            receiver.on_connection_error = _give_up
            receiver.on_decode_error = _ignore

            def ready(_connection: Any, channel: Any, _consumers: Any, **_options: Any) -> None:
                def look() -> None:
                    receiver.should_stop = stopping.is_set()
                    self._look(channel)

                receiver.on_iteration = look  # once a second, and after each event

            receiver.on_consume_ready = ready
            try:
                receiver.capture(limit=None, timeout=None, wakeup=False)
            finally:
                self._write(time.monotonic(), proven=False)

    def _note(self, event: Mapping[str, Any]) -> None:
        self._workers.note(event, time.monotonic())
        if event["type"] in STATES and not self._events.add(event, time.time()):
            self._unbroken = False

    def _look(self, channel: Any) -> None:
        subscription = channel.subclient
        if subscription.connection is None:
            return  # it comes with the first wait for events
        now = time.monotonic()
        subscription.check_health()
        unanswered = subscription.health_check_response_counter
        if unanswered >= UNANSWERED:
            raise Silent("the broker does not answer")
        if now >= self._next_lengths:
            self._next_lengths = now + self._settings.interval
            self._lengths = queue_lengths(channel.client, self._settings.queues)
        if now >= self._next_write and not unanswered:
            self._write(now, proven=True)

    def _write(self, now: float, *, proven: bool) -> None:
        """Write the events, and where it is `proven` that they come, that they do."""
        silent = self._workers.silent(now)
        sees = proven and self._workers.spoken and not silent
        self._next_write = now + (WRITING if self._events else min(ALIVE, self._settings.interval))
        try:
            with self._ledger.write() as tables:
                numbers = self._events.write(tables.tasks)
                if sees:
                    coverage = tables.coverage
                    note = coverage.extend if self._unbroken else coverage.start
                    note(self._name, time.time())
        except LedgerWriteError as error:
            self._sight.blind(f"ledger: {error}")
            return
        self._events.written(numbers)
        self._unbroken = sees
        if silent:
            self._sight.blind(f"{silent[0]} sends no events of tasks: start it with -E")
        elif proven:
            self._sight.clear(FRESH)


def queue_lengths(client: Any, queues: Sequence[str]) -> dict[str, int]:
    """Return the number of tasks waiting in each queue, of all priorities."""
    with client.pipeline(transaction=False) as pipeline:
        for queue in queues:
            for suffix in LISTS:
                pipeline.llen(f"{queue}{suffix}")
        answers = iter(pipeline.execute(raise_on_error=False))
    sizes = {queue: [next(answers) for _ in LISTS] for queue in queues}
    return {queue: sum(s for s in found if isinstance(s, int)) for queue, found in sizes.items()}


def _reach(url: str) -> None:
    """Raise OSError where nothing listens: Redis's client would try for many seconds."""
    parts = urlsplit(url)
    socket.create_connection((parts.hostname or "", parts.port or PORT), TIMEOUT).close()


def _tls(url: str, ca: Path | None) -> dict[str, str] | None:
    """Return that the certificate is to be checked, since Kombu's own default takes any."""
    if not url.startswith("rediss:"):
        return None
    return {"ssl_cert_reqs": "required"} | ({"ssl_ca_certs": str(ca)} if ca else {})


def _give_up(error: Exception, _interval: float) -> None:
    """Leave it to `run` to try again."""
    raise error


def _ignore(_message: Any, _error: Exception) -> None:
    """Pass over an event that can't be read; Kombu would log what is in it."""
