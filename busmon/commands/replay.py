"""`busmon replay`: recorded messages through the same path as live ones, and the counts."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from http.client import HTTPException
from itertools import islice
from typing import NamedTuple
from urllib.error import HTTPError

from prometheus_client import CollectorRegistry, generate_latest, push_to_gateway
from prometheus_client.core import Metric

from busmon import __version__
from busmon.config.model import Config
from busmon.ledger.ledger import Ledger
from busmon.message import Message
from busmon.metrics.collector import Metrics
from busmon.pipeline import Pipeline
from busmon.rules import rule_set
from busmon.sources import fedora_message, json_body
from busmon.sources.recorded.format import Format
from busmon.sources.recorded.reader import NOT_RECORD, read
from busmon.text import printable

BATCH = 500  # messages
JOB = "busmon-replay"
COLUMNS = ("bus", "topic", "outcome", "reason", "messages")
PUBLISHED = {  # the rest of /metrics is about connections and the time of receipt
    "busmon_messages",
    "busmon_duplicates",
    "busmon_topics_folded",
    "busmon_last_message_sent_timestamp_seconds",
    "busmon_message_size_bytes",
}


class NotPushed(Exception):
    """The Pushgateway did not take the counts; the text says why."""


class Buses(NamedTuple):
    """Bus and rule book by which the lines of each format are counted."""

    fedora: tuple[str, str] = ("fedora", "packit")
    centos: tuple[str, str] = ("centos", "centos")


def buses_of(config: Config) -> Buses:
    """Return the first configured bus for each format."""
    found = {bus.recorded: (name, bus.rules) for name, bus in reversed(config.buses.items())}
    default = Buses()
    return Buses(found.get(Format.FEDORA, default.fedora), found.get(Format.CENTOS, default.centos))


class Replay:
    """Counts recorded messages in a ledger of its own, which is in memory.

    Raises ValueError where a rule book can't be had.
    """

    def __init__(self, config: Config, buses: Buses) -> None:
        self._buses = buses
        self._ledger = Ledger(":memory:")
        metrics = Metrics(self._ledger, {}, __version__)
        self._registry = CollectorRegistry()
        self._registry.register(_Published(metrics))
        self._monitor = Pipeline(
            self._ledger,
            {bus: rule_set(rules, config.rules) for bus, rules in buses},
            {
                buses.fedora[0]: (*fedora_message.REJECTIONS, NOT_RECORD),
                buses.centos[0]: (*json_body.REJECTIONS, NOT_RECORD),
            },
            config.limits.unknown_topics,
            metrics.observe,
        )

    def count(self, place: str, file: Iterable[bytes], complain: Callable[[str], None]) -> None:
        """Count every line of one file; `complain` is told of those that are no message."""
        judged = map(self._monitor.judge, self._messages(place, file, complain))
        while batch := list(islice(judged, BATCH)):
            self._monitor.record(batch)

    def _messages(
        self, place: str, file: Iterable[bytes], complain: Callable[[str], None]
    ) -> Iterator[Message]:
        bus = self._buses.fedora  # of a bad line: that of the good one before it
        for line in read(file, place, bus=""):
            if line.format is not Format.BAD:
                bus = getattr(self._buses, line.format)
            elif line.message.rejected:
                complain(f"{place}:{line.number}: {line.message.rejected.reason}")
            yield replace(line.message, bus=bus[0])

    def rows(self) -> list[tuple[str, ...]]:
        """Return bus, topic, outcome, reason and messages of every counter that is not zero."""
        tallies = self._ledger.counts().items()
        rows = [(*series, str(tally.messages)) for series, tally in tallies if tally.messages]
        duplicates = self._ledger.duplicates().items()
        rows += [(bus, "", "duplicate", "", str(n)) for bus, n in duplicates if n]
        return sorted(rows)

    def as_table(self) -> str:
        """Return the counts as aligned columns under a heading."""
        rows = [COLUMNS, *(tuple(map(printable, row)) for row in self.rows())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join([*map(str.ljust, row[:-1], widths), row[-1].rjust(widths[-1])])
            for row in rows
        )

    def as_json(self) -> str:
        """Return the counts as a JSON list of objects."""
        rows = (dict(zip(COLUMNS, row, strict=True)) for row in self.rows())
        return json.dumps([row | {"messages": int(row["messages"])} for row in rows], indent=2)

    def as_prometheus(self) -> str:
        """Return the counts as Prometheus reads them."""
        return generate_latest(self._registry).decode()

    def push(self, url: str) -> None:
        """Replace what the Pushgateway has of an earlier replay; raises NotPushed."""
        try:
            push_to_gateway(url, JOB, self._registry)
        except HTTPError as error:
            with error:
                raise NotPushed(f"can't push to {url}: {error}") from error
        except (OSError, HTTPException, ValueError) as error:
            raise NotPushed(f"can't push to {url}: {getattr(error, 'reason', error)}") from error


class _Published:
    """The part of the metrics that a replay can tell."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return (family for family in self._metrics.collect() if family.name in PUBLISHED)
