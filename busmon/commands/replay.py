"""`busmon replay`: recorded messages, counted in the same way as those of a bus."""

import json
from collections.abc import Callable, Iterable, Iterator
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
from busmon.sources.recorded.format import RULES, Format
from busmon.sources.recorded.reader import NOT_RECORD, read
from busmon.text import printable

BATCH_MESSAGES = 500
JOB = "busmon-replay"
COLUMNS = ("bus", "topic", "outcome", "reason", "messages")
PUBLISHED = {  # all other metrics are about connections and the time of receipt
    "busmon_messages",
    "busmon_duplicates",
    "busmon_topics_folded",
    "busmon_unknown_schema",
    "busmon_last_message_sent_timestamp_seconds",
    "busmon_message_size_bytes",
}


REJECTIONS = {
    Format.FEDORA: (*fedora_message.REJECTIONS, NOT_RECORD),
    Format.CENTOS: (*json_body.REJECTIONS, NOT_RECORD),
}


class NotPushed(Exception):
    """The Pushgateway did not take the counts; the text says why."""


class ReplayedBus(NamedTuple):
    """The bus for the messages of a format, and the name of its rule set."""

    name: str
    rules: str


def buses_of(config: Config) -> dict[Format, ReplayedBus]:
    """Return the bus for each format: the first configured one, or else one of its name."""
    buses = {form: ReplayedBus(form, rules) for form, rules in RULES.items()}
    for name, bus in reversed(config.buses.items()):
        if bus.recorded:
            buses[bus.recorded] = ReplayedBus(name, bus.rules)
    return buses


class Replay:
    """Counts recorded messages in a ledger of its own, which is in memory."""

    def __init__(self, config: Config) -> None:
        self._buses = buses_of(config)
        self._ledger = Ledger(":memory:")
        metrics = Metrics(self._ledger, {}, __version__)
        self._registry = CollectorRegistry()
        self._registry.register(_Published(metrics))
        self._pipeline = Pipeline(
            self._ledger,
            {bus.name: rule_set(bus.rules, config.rules) for bus in self._buses.values()},
            {bus.name: REJECTIONS[form] for form, bus in self._buses.items()},
            config.limits.unknown_topics,
            metrics.observe,
        )

    def count(self, place: str, file: Iterable[bytes], complain: Callable[[str], None]) -> None:
        """Count every line of one file; `complain` gets a text for each bad line."""
        judged = map(self._pipeline.judge, self._messages(place, file, complain))
        while batch := list(islice(judged, BATCH_MESSAGES)):
            self._pipeline.record(batch)

    def _messages(
        self, place: str, file: Iterable[bytes], complain: Callable[[str], None]
    ) -> Iterator[Message]:
        form = Format.FEDORA  # a bad line counts for the bus of the good line before it
        for line in read(file, place, bus=""):
            if line.format is not Format.BAD:
                form = line.format
            elif line.message.rejected:
                complain(f"{place}:{line.number}: {line.message.rejected.reason}")
            yield line.message._replace(bus=self._buses[form].name)

    def rows(self) -> list[tuple[str, ...]]:
        """Return bus, topic, outcome, reason and messages of every counter that is not zero."""
        counts = self._ledger.counts().items()
        rows = [(*series, str(count.messages)) for series, count in counts if count.messages]
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
        """Return the counts in the text format of Prometheus."""
        return generate_latest(self._registry).decode()

    def push(self, url: str) -> None:
        """Replace the counts of an earlier replay at the Pushgateway; raises NotPushed."""
        try:
            push_to_gateway(url, JOB, self._registry)
        except HTTPError as error:
            with error:
                raise NotPushed(f"cannot push to {url}: {error}") from error
        except (OSError, HTTPException, ValueError) as error:
            raise NotPushed(f"cannot push to {url}: {getattr(error, 'reason', error)}") from error


class _Published:
    """The metrics that make sense for a replay."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return (family for family in self._metrics.collect() if family.name in PUBLISHED)
