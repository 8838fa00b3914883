"""The AMQP source at work: a bus of one test's own, and handlers that hold it up."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from busmon.message import Message
from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.amqp.source import AmqpSource
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.sources import (
    Record,
    Recorder,
)

HEARTBEAT = 60  # seconds. With less, a busy machine loses connections.


@dataclass
class Bus:
    """A part of the broker's bus that is one test's own: topics below `root`, and a queue."""

    broker: RabbitMQ
    directory: Path
    root: str
    queue: str

    def source(self, *, prefetch: int = 200, heartbeat: int = HEARTBEAT, **toml: Any) -> AmqpSource:
        path = self.directory / f"{uuid4().hex}.toml"
        config = self.broker.fedora_toml(path, **{"bindings": [f"{self.root}.#"]} | toml)
        return AmqpSource("fedora", settings(config, prefetch, heartbeat), self.queue)

    def numbered(self, numbers: Iterable[int], body: Mapping[str, Any] | None = None) -> None:
        rest = dict(body or {})
        self.broker.publish(
            Publication(topic=f"{self.root}.n", body=json.dumps({"n": n} | rest).encode())
            for n in numbers
        )

    def waiting(self) -> int | None:
        """How many messages the queue holds that were not acknowledged, once nobody reads it."""
        wait_until(lambda: not self.broker.consumer_count(self.queue), what="no consumer")
        return self.broker.queue_count(self.queue)


def settings(config: Path, prefetch: int = 200, heartbeat: int = HEARTBEAT) -> AmqpBus:
    return AmqpBus(type="amqp", rules="all", config=config, prefetch=prefetch, heartbeat=heartbeat)


def slowly(recorder: Recorder) -> Record:
    """Take 5 ms a batch, so that a stream has a middle in which to break it."""

    def record(batch: Sequence[Message]) -> None:
        time.sleep(0.005)
        recorder(batch)

    return record
