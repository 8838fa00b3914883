"""STOMP: all of busmon beside bare stomp.py that only counts, on a private ActiveMQ."""

import sys
from functools import partial
from itertools import islice
from pathlib import Path
from uuid import uuid4

from tests.bench import Options
from tests.bench.brokers import KEEPALIVE
from tests.bench.consumers import drain_busmon, drain_other
from tests.bench.measure import Run, Table, compared, interleaved
from tests.bench.stream import from_fedora
from tests.support.brokers.activemq import ActiveMQ, Publisher
from tests.support.brokers.certificates import Certificates

MESSAGES = 20_000
CHUNK = 1_000  # messages before the publisher waits for a receipt

NOTES = (
    "Bodies of 0.2 to 25 kB, one in 500 of 100 kB, a VirtualTopic's queue each, no TLS;"
    " both acknowledge cumulatively.",
    "busmon judges, records on disk (`synchronous=FULL`) and acknowledges; stomp.py only counts.",
    "Aim: busmon's speed at least 0.7 of bare stomp.py.",
)


def run(options: Options) -> list[Table]:
    """Compare all consumers, on a broker of their own."""
    certificates = Certificates(options.directory / "certificates")
    with ActiveMQ(options.directory / "activemq", certificates) as broker:
        return [compare(broker, options)]


def compare(broker: ActiveMQ, options: Options) -> Table:
    """Let each consumer drain the same queue."""
    bench = _Bench(broker, options.directory, options.size(MESSAGES))
    contestants = {"busmon": bench.busmon, "bare stomp.py": bench.stomp}
    runs = interleaved(contestants, options.rounds, options.say)
    return compared("STOMP, ActiveMQ", runs, "busmon", NOTES)


class _Bench:
    """One broker, and how each consumer is started beside it."""

    def __init__(self, broker: ActiveMQ, directory: Path, messages: int) -> None:
        self._broker = broker
        self._directory = directory
        self._messages = messages

    def busmon(self) -> Run:
        place, queue, directory = self._new()
        settings = {
            "type": "stomp",
            "rules": "packit",
            "brokers": [f"127.0.0.1:{self._broker.port}"],
            "destinations": [queue],
            "topic_header": "original-destination",
            "topic_pattern": rf"{place}\.(.+)$",
            "heartbeat": f"{KEEPALIVE}s",
        }
        return drain_busmon(directory, settings, partial(self._publish, place), self._messages)

    def stomp(self) -> Run:
        place, queue, directory = self._new()
        return drain_other(
            directory,
            [sys.executable, "-m", "tests.bench.bare_stomp", str(self._broker.port), queue],
            lambda server: server.logged("subscribed"),
            partial(self._publish, place),
            self._messages,
        )

    def _new(self) -> tuple[str, str, Path]:
        """Return a new VirtualTopic, the queue of its consumer, and a directory."""
        name = uuid4().hex
        place = f"VirtualTopic.{name}"
        directory = self._directory / name
        directory.mkdir()
        return place, f"/queue/Consumer.busmon.{uuid4()}.{place}.>", directory

    def _publish(self, place: str) -> None:
        messages = from_fedora(self._messages)
        with Publisher(self._broker.port) as publisher:
            while chunk := list(islice(messages, CHUNK)):
                publisher.send_all([(f"/topic/{place}.{sent.topic}", sent.body) for sent in chunk])
