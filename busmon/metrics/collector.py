"""The metrics of messages, connections and the ledger, read from memory at scrape time.

The counters of messages come from the ledger and continue over restarts. The histograms and
the counters of connections start at zero with the process, as Prometheus expects.
"""

import platform
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from busmon.ledger.batch import Count, Series
from busmon.ledger.ledger import Ledger, Recorded
from busmon.ledger.values import milliseconds
from busmon.metrics.families import Buckets, by_bus, counter, gauge, histogram
from busmon.pipeline import OTHER
from busmon.sources.base import Cause, ConnectionState

DELAY_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400)
SIZE_BYTES = tuple(256 * 4**power for power in range(9))  # 256 B to 16 MiB
BATCH_MESSAGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """A collector of the ledger, of the connections by bus, and of the recorded batches.

    `size_limit` is that of the ledger, in bytes; None if nothing is pruned by size.
    """

    def __init__(
        self,
        ledger: Ledger,
        connections: Mapping[str, ConnectionState],
        version: str,
        size_limit: int | None = None,
    ) -> None:
        self._ledger = ledger
        self._size_limit = size_limit
        self._connections = connections
        self._build = version, platform.python_version()
        self._observing = threading.Lock()  # held briefly, never while waiting
        self._delays = defaultdict(
            lambda: Buckets(DELAY_SECONDS), {bus: Buckets(DELAY_SECONDS) for bus in connections}
        )
        self._sizes = defaultdict(
            lambda: Buckets(SIZE_BYTES), {bus: Buckets(SIZE_BYTES) for bus in connections}
        )
        self._batches = Buckets(BATCH_MESSAGES)
        self._commits = Buckets(COMMIT_SECONDS)

    def observe(self, recorded: Recorded) -> None:
        """Add a batch to the histograms. Its duplicates count only in the size of the batch."""
        with self._observing:
            for message in recorded.new:
                bus = message.series.bus
                self._sizes[bus].add(message.size)
                if message.sent_at is not None and milliseconds(message.sent_at) is not None:
                    # It would be negative if the clocks disagree.
                    delay = max(0.0, message.received_at - message.sent_at)
                    self._delays[bus].add(delay)
            self._batches.add(len(recorded.new) + recorded.duplicates)
            self._commits.add(recorded.seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric. Waits neither for a broker nor for the disk."""
        yield from _messages(self._ledger.counts(), self._connections)
        yield counter(
            "busmon_duplicates_total",
            "Redelivered messages that the ledger already had. No other counter includes them.",
            ["bus"],
            by_bus(dict.fromkeys(self._connections, 0) | self._ledger.duplicates()),
        )
        with self._observing:
            yield from self._histograms()
        yield from _connections(self._connections)
        yield from _ledger(self._ledger)
        if self._size_limit is not None:
            yield gauge(
                "busmon_ledger_size_limit_bytes",
                "Disk space above which the ledger deletes its oldest messages.",
                [],
                [((), self._size_limit)],
            )
        yield gauge(
            "busmon_build_info",
            "Always 1; the labels are the versions of busmon and Python.",
            ["version", "python"],
            [(self._build, 1)],
        )

    def _histograms(self) -> list[Metric]:
        by_bus = (
            histogram(name, text, ["bus"], {(bus,): of for bus, of in buckets.items()})
            for name, text, buckets in (
                (
                    "busmon_message_delay_seconds",
                    "Time from sending to receipt, of messages that say when they were sent;"
                    " 0 if the clocks disagree.",
                    self._delays,
                ),
                ("busmon_message_size_bytes", "Size of a message's body as sent.", self._sizes),
            )
        )
        return [
            *by_bus,
            histogram(
                "busmon_batch_messages",
                "Messages recorded and acknowledged together, duplicates included.",
                [],
                {(): self._batches},
            ),
            histogram(
                "busmon_commit_duration_seconds",
                "Time to write one batch to the ledger, until it is on disk.",
                [],
                {(): self._commits},
            ),
        ]


def make_registry(*collectors: Collector) -> CollectorRegistry:
    """Return a registry of busmon's own metrics and those of its process."""
    registry = CollectorRegistry(auto_describe=True)  # so that name[] finds each metric
    for collector in collectors:
        registry.register(collector)
    ProcessCollector(registry=registry)
    registry.register(_ProcessThreads())
    return registry


class _ProcessThreads:
    """The standard metric `process_threads`, which prometheus-client does not collect."""

    def collect(self) -> Iterator[Metric]:
        tasks = Path("/proc/self/task")  # Linux only, as prometheus-client's collector is
        if tasks.is_dir():
            number = sum(1 for _ in tasks.iterdir())
            text = "Number of OS threads in the process."
            yield gauge("process_threads", text, [], [((), number)])


def _messages(counts: Mapping[Series, Count], buses: Iterable[str]) -> Iterator[Metric]:
    received: dict[tuple[str, str], float] = {}
    sent: dict[tuple[str, str], float] = {}
    folded = Counter(dict.fromkeys(buses, 0))
    for series, count in counts.items():
        topic = series.bus, series.topic
        if count.last_received is not None and count.messages:
            received[topic] = max(count.last_received, received.get(topic, count.last_received))
        if count.last_sent is not None:
            sent[topic] = max(count.last_sent, sent.get(topic, count.last_sent))
        folded[series.bus] += count.messages if series.topic == OTHER else 0
    yield counter(
        "busmon_messages_total",
        "Messages received, by their outcome at the listener. Each is in exactly one series.",
        Series._fields,
        ((series, count.messages) for series, count in counts.items()),
    )
    yield gauge(
        "busmon_last_message_timestamp_seconds",
        "Unix time at which the newest message of the topic was received.",
        ["bus", "topic"],
        received.items(),
    )
    yield gauge(
        "busmon_last_message_sent_timestamp_seconds",
        "Unix time at which the newest message of the topic was sent, according to the message.",
        ["bus", "topic"],
        sent.items(),
    )
    yield counter(
        "busmon_topics_folded_total",
        f"Messages counted under the topic {OTHER}, because the bus has too many unknown topics.",
        ["bus"],
        by_bus(folded),
    )


def _connections(connections: Mapping[str, ConnectionState]) -> Iterator[Metric]:
    causes = [
        (bus, connection, cause) for bus, connection in connections.items() for cause in Cause
    ]
    yield gauge(
        "busmon_bus_connected",
        "1 while the bus is connected and subscribed, else 0.",
        ["bus"],
        by_bus({bus: connection.connected for bus, connection in connections.items()}),
    )
    yield counter(
        "busmon_bus_connects_total",
        "How often the bus was connected and subscribed.",
        ["bus"],
        by_bus({bus: connection.connects for bus, connection in connections.items()}),
    )
    yield counter(
        "busmon_bus_disconnects_total",
        "Lost connections or subscriptions, by reason.",
        ["bus", "reason"],
        (((bus, cause), connection.disconnects[cause]) for bus, connection, cause in causes),
    )
    yield counter(
        "busmon_bus_connect_failures_total",
        "Failed attempts to connect and subscribe, by reason.",
        ["bus", "reason"],
        (((bus, cause), connection.failures[cause]) for bus, connection, cause in causes),
    )


def _ledger(ledger: Ledger) -> Iterator[Metric]:
    rows, size = ledger.size()
    yield gauge(
        "busmon_ledger_up",
        "1 while the ledger can be written; 0 after a failed write, or while a write hangs.",
        [],
        [((), ledger.problem() is None)],
    )
    yield gauge("busmon_ledger_rows", "Messages on record in the ledger.", [], [((), rows)])
    yield gauge("busmon_ledger_size_bytes", "Disk space that the ledger uses.", [], [((), size)])
    yield counter(
        "busmon_ledger_pruned_rows_total",
        "Messages deleted from the ledger because of their age or its size limit.",
        ["reason"],
        (((reason,), rows) for reason, rows in ledger.pruned.items()),
    )
