"""The metrics of messages, connections and the ledger, read from memory at scrape time.

The counters of messages come from the ledger and continue over restarts. The histograms and
the counters of connections start at zero with the process, as Prometheus expects.
"""

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from busmon.ledger.batch import Count, Series, last_received
from busmon.ledger.ledger import Ledger, Recorded
from busmon.metrics.families import by_bus, counter, gauge
from busmon.metrics.histograms import BatchHistograms
from busmon.pipeline import OTHER
from busmon.sources.base import Cause, ConnectionState


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
        self._version = version
        self._histograms = BatchHistograms(connections)
        self.delays = self._histograms.delays

    def observe(self, recorded: Recorded) -> None:
        """Add a batch to the histograms. Its duplicates count only in the size of the batch."""
        self._histograms.add(recorded)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric. Waits neither for a broker nor for the disk."""
        yield from _messages(self._ledger.counts(), self._connections)
        yield counter(
            "busmon_duplicates_total",
            "Redelivered messages that the ledger already had. No other counter includes them.",
            ["bus"],
            by_bus(dict.fromkeys(self._connections, 0) | self._ledger.duplicates()),
        )
        yield counter(
            "busmon_unknown_schema_total",
            "Messages that name a schema which is not installed, so they are not checked by it.",
            ["bus"],
            by_bus(dict.fromkeys(self._connections, 0) | self._ledger.unknown_schemas()),
        )
        yield from self._histograms.collect()
        yield from _connections(self._connections)
        yield from _ledger(self._ledger)
        if self._size_limit is not None:
            yield gauge(
                "busmon_ledger_size_limit_bytes",
                "Disk space above which the ledger deletes its oldest messages.",
                [],
                [((), self._size_limit)],
            )
        yield build_info(self._version)


def build_info(version: str) -> Metric:
    """Return which busmon this is."""
    return gauge(
        "busmon_build_info",
        "Always 1; the labels are the versions of busmon and Python.",
        ["version", "python"],
        [((version, platform.python_version()), 1)],
    )


def ledger_up(up: bool) -> Metric:
    """Return whether the ledger can be written."""
    return gauge(
        "busmon_ledger_up",
        "1 while the ledger can be written; 0 after a failed write, while a write hangs, or before"
        " the ledger is open.",
        [],
        [((), up)],
    )


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
    sent: dict[tuple[str, str], tuple[float, float]] = {}  # when it was received, and sent
    folded = Counter(dict.fromkeys(buses, 0))
    for series, count in counts.items():
        topic = series.bus, series.topic
        if count.last_sent is not None:
            newest = count.last_received or 0.0, count.last_sent
            sent[topic] = max(newest, sent.get(topic, newest))
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
        last_received(counts).items(),
    )
    yield gauge(
        "busmon_last_message_sent_timestamp_seconds",
        "Unix time at which the newest message of the topic was sent, according to the message.",
        ["bus", "topic"],
        ((topic, at) for topic, (_, at) in sent.items()),
    )
    yield counter(
        "busmon_topics_folded_total",
        f"Messages counted under {OTHER}: their topics are too many, or no longer come.",
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
        "busmon_bus_forgotten_total",
        "Connections at which the broker had kept nothing of what came since the last one.",
        ["bus"],
        by_bus({bus: connection.forgotten for bus, connection in connections.items()}),
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
    yield ledger_up(ledger.problem() is None)
    yield gauge("busmon_ledger_rows", "Messages on record in the ledger.", [], [((), rows)])
    yield gauge(
        "busmon_ledger_size_bytes",
        "Disk space that the ledger uses, with its write-ahead log.",
        [],
        [((), size)],
    )
    yield gauge(
        "busmon_ledger_log_bytes",
        "Size of the ledger's write-ahead log. It grows while another program reads the ledger.",
        [],
        [((), ledger.log_bytes())],
    )
    yield counter(
        "busmon_ledger_pruned_rows_total",
        "Messages deleted from the ledger because of their age or its size limit.",
        ["reason"],
        (((reason,), rows) for reason, rows in ledger.pruned.items()),
    )
    yield counter(
        "busmon_ledger_dropped_rows_total",
        "Rows other than messages, deleted because their kind reached its share of size_limit.",
        ["kind"],
        (((kind,), rows) for kind, rows in ledger.dropped.items()),
    )
