"""Observes Celery's workers: the events that they send, and the queues that they work on.

Events come by the broker's publish and subscribe, which keeps nothing for a client that is away.
So each new connection begins a new interval of the observer's coverage.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Annotated, Any
from urllib.parse import urlsplit

from prometheus_client.core import Metric
from pydantic import AfterValidator, Field, SecretStr

from busmon.backoff import MAX_DELAY_SECONDS, Backoff
from busmon.ledger.coverage import observer_id
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.metrics.families import counter, gauge
from busmon.observers.base import Observer, ObserverSettings
from busmon.observers.celery_broker import (
    PRIORITY_STEPS,
    SEPARATOR,
    TIMEOUT,
    Broker,
    BrokerLost,
    Keys,
    Queues,
)
from busmon.observers.celery_events import DROPS, Dropped, Event, read
from busmon.observers.celery_tasks import STATES, TaskEvents, TaskNames, Written
from busmon.observers.celery_workers import Workers
from busmon.observers.health import ObserverHealth
from busmon.settings.section import File, Strings, split
from busmon.settings.units import Seconds
from busmon.text import check_host, format_address, format_items, format_time, printable

WRITE_INTERVAL = 1.0  # seconds, while events come
YIELD_SECONDS = 0.02  # between two writes of many events, so that counting goes on
IDLE_WRITE_INTERVAL = 5.0  # seconds, without events: only the coverage is written
FIRST_HEARTBEAT_SECONDS = 5.0  # after the connection; a worker sends one every 2 s
MAX_TICK_SECONDS = 3 * TIMEOUT  # within which the next tick comes

Priority = Annotated[int, Field(ge=0, le=255)]

log = logging.getLogger(__name__)


def _redis_url(secret: SecretStr) -> SecretStr:
    """Check the URL. The error must not repeat it, since it may contain a password."""
    try:
        parts = urlsplit(secret.get_secret_value())
        known = parts.scheme in {"redis", "rediss"} and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known or parts.query or parts.fragment:
        raise ValueError("should be redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], or rediss://")
    check_host(str(parts.hostname))
    return secret


class CelerySettings(ObserverSettings):
    """`[audit.celery]`: the workers' events and queues are watched."""

    broker: Annotated[SecretStr, AfterValidator(_redis_url)]  # with its password
    ca: File | None = None  # of the certificate of a rediss:// broker
    # Names and patterns: of what the listener publishes, and of what is counted by its name.
    tasks: Annotated[Strings, Field(min_length=1)] = ("task.steve_jobs.process_message",)
    handlers: Strings = ("task.run_*_handler",)  # of packit-service
    queues: Strings = ("short-running", "long-running", "rate-limited")  # of packit-service
    interval: Seconds = 15
    # How the workers name their keys, if they have these in `broker_transport_options`.
    global_keyprefix: str = ""
    priority_steps: Annotated[tuple[Priority, ...], split, Field(min_length=1)] = PRIORITY_STEPS
    sep: Annotated[str, Field(min_length=1)] = SEPARATOR

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


class CeleryObserver:
    """The workers behind one bus's listener."""

    kind = "celery"

    def __init__(self, settings: CelerySettings, ledger: Ledger) -> None:
        self.bus = settings.bus
        self._name = observer_id(self.kind, self.bus)
        self._health = ObserverHealth(self._name)
        self._settings = settings
        self._ledger = ledger
        keys = Keys(settings.global_keyprefix, settings.sep, settings.priority_steps)
        self._broker = Broker(settings.broker.get_secret_value(), settings.ca, keys)
        self._events = TaskEvents(TaskNames(settings.tasks, settings.handlers))
        self._queues = Queues()
        self._drops = Counter(dict.fromkeys(DROPS, 0))
        self._next_write = self._next_lengths = self._connected_at = 0.0  # monotonic
        self._unbroken = False  # whether no event was lost since the last write
        self._started = time.time()
        with ledger.read() as tables:
            self._workers = Workers(tables.tasks.exist())

    def run(self, stopping: threading.Event) -> None:
        """Observe until `stopping`, with backoff and jitter between two connections."""
        # Kombu's warnings may show the content of events. Its errors are raised, too.
        logging.getLogger("kombu").setLevel(logging.CRITICAL)
        backoff = Backoff()
        while not stopping.is_set():
            started = self._connected_at = time.monotonic()
            self._unbroken = False
            try:
                self._session(stopping)
            except BrokerLost as lost:
                address = format_address(*self._broker.address)
                self._health.down(f"Celery's broker {address}: {lost}")
                log.debug("%s: the connection ended", self._name, exc_info=True)
            self._queues = Queues()
            if time.monotonic() - started > MAX_DELAY_SECONDS:
                backoff.reset()
            stopping.wait(backoff.next_pause())

    def up(self) -> bool:
        """Return whether the broker is connected, and all workers send events of tasks."""
        return self._health.problem() is None

    def problem(self) -> str | None:
        """Return why it does not receive data, or None if it does."""
        return self._health.problem()

    def lengths(self) -> Mapping[str, int]:
        """Return how many tasks wait in each queue; empty while that is unknown."""
        return self._queues.lengths

    def events(self) -> Mapping[tuple[str, str], int]:
        """Return how many events were written since the start, by event and task."""
        return self._events.counts

    def collect(self) -> Iterator[Metric]:
        """Yield the events of the tasks, and the lengths of the queues."""
        yield counter(
            "busmon_celery_task_events_total",
            "Events of the workers by what happened to the task.",
            ["event", "task"],
            self._events.counts.items(),
        )
        yield gauge(
            "busmon_celery_queue_tasks",
            "Tasks that wait in the queue, without those that a worker has already fetched.",
            ["queue"],
            (((queue,), length) for queue, length in self._queues.lengths.items()),
        )
        yield counter(
            "busmon_celery_events_dropped_total",
            "Events of the workers that busmon could not use, by reason.",
            ["reason"],
            (((reason,), number) for reason, number in dict(self._drops).items()),
        )

    def receive(self, envelope: Mapping[str, Any]) -> None:
        """See Handler."""
        try:
            events = read(envelope)
        except Dropped as dropped:
            self._drop(dropped.reason)
            return
        for event in events:
            self._add(event)

    def tick(self, answers: bool) -> None:
        """Measure the queues and write, if it is time."""
        now = time.monotonic()
        if now >= self._next_lengths:
            self._next_lengths = now + self._settings.interval
            self._queues = self._broker.measure(self._settings.queues)
        if now >= self._next_write and answers:
            self._write(now, proven=True)

    def _session(self, stopping: threading.Event) -> None:
        try:
            self._broker.receive(self, stopping)
        finally:
            if self._events:
                self._write(time.monotonic(), proven=False)

    def _add(self, event: Event) -> None:
        self._workers.add(event, time.monotonic())
        if event["type"] in STATES and not self._events.add(event, time.time()):
            self._drop("unwritten")

    def _drop(self, reason: str) -> None:
        self._drops[reason] += 1
        self._unbroken = False

    def _write(self, now: float, *, proven: bool) -> None:
        """Write the events; and the coverage, if it is `proven` that all events come."""
        silent = self._workers.silent(now)
        covered = proven and self._workers.any_events and self._any_worker() and not silent
        idle = min(IDLE_WRITE_INTERVAL, self._settings.interval)
        self._next_write = now + (WRITE_INTERVAL if self._events else idle)
        try:
            while self._events.too_many():
                with self._ledger.write() as tables:
                    written = self._events.write(tables.tasks, time.time())
                self._commit(written)
                time.sleep(YIELD_SECONDS)
            with self._ledger.write() as tables:
                written = self._events.write(tables.tasks, time.time())
                if covered:
                    coverage = tables.coverage
                    note = coverage.extend if self._unbroken else coverage.start
                    note(self._name, time.time())
        except LedgerWriteError as error:
            self._health.down(f"ledger: {error}")
            return
        self._unbroken = covered
        self._commit(written)
        if problem := self._problem(silent, now):
            self._health.down(problem)
        elif proven and self._any_worker():
            self._health.up(MAX_TICK_SECONDS)

    def _commit(self, written: Written) -> None:
        self._events.commit(written)
        self._drops.update(written.dropped)
        if written.dropped["orphan"]:  # some may be of the listener's trees
            self._unbroken = False

    def _problem(self, silent: Sequence[str], now: float) -> str | None:
        """Return what is wrong although the broker answers."""
        if silent:
            return f"{silent[0]} sends no events of tasks: start it with -E"
        if self._queues.refused:
            return printable(self._queues.refused[0])
        if self._any_worker() or now - self._connected_at < FIRST_HEARTBEAT_SECONDS:
            return None
        hint = "" if self._queues.used else ": check the database, and global_keyprefix"
        return f"no worker was heard of since {format_time(self._started)}{hint}"

    def _any_worker(self) -> bool:
        """Return whether a worker was ever heard of here: only then silence is a fact."""
        return self._workers.heard or (self._workers.any_events and self._queues.used)
