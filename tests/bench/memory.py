"""Memory: three buses with TLS, a ledger with a long past, and a steady stream of messages."""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from busmon.ledger.engines import open_read_only
from tests.bench import Options
from tests.bench.brokers import amqp_bus, unlimited_rabbitmq
from tests.bench.installed import as_installed
from tests.bench.measure import CONSUMER_TIMEOUT, MIB, Cell, Table
from tests.bench.stream import from_centos, from_fedora
from tests.ledger.past import with_past
from tests.support.brokers import wait_until
from tests.support.brokers.activemq import ActiveMQ, Publisher
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.busmon_process import Busmon

ROWS = 1_000_000
MESSAGES = 1_000_000  # of all buses together
CHUNK = 1_000  # messages published at once
WINDOW = 5_000  # messages of a bus that wait at most
DAYS = 6 * 86_400.0  # of the past, all within the retention
LOOK = 0.05  # seconds between two looks at the counters
SAMPLE = 1.0  # seconds between two looks at the memory

Publish = Callable[[Sequence[Any]], object]


@dataclass(frozen=True, slots=True)
class _Bus:
    """A bus's settings, its messages, and how some of them are published."""

    settings: Mapping[str, Any]
    messages: Iterator[Any]
    publish: Publish


def run(options: Options) -> list[Table]:
    """Watch the memory from the start to the last message."""
    place = options.directory
    rows, messages = min(ROWS, options.size(ROWS)), options.size(MESSAGES)
    with_past(place / "ledger.sqlite", rows, time.time() - DAYS, time.time())
    with (
        unlimited_rabbitmq(place) as rabbitmq,
        Mosquitto(place / "mosquitto", rabbitmq.certificates) as mosquitto,
        ActiveMQ(place / "activemq", rabbitmq.certificates) as activemq,
        _durable_topic(activemq, messages) as durable,
    ):
        buses = {
            "fedora": _fedora(rabbitmq, place, messages),
            "centos": _centos(mosquitto, rabbitmq.certificates, messages),
            "durable": durable,
        }
        settings = {name: bus.settings for name, bus in buses.items()}
        with as_installed(Busmon(place, settings)) as busmon:
            busmon.wait_until_ready()
            before, own_before = busmon.memory(), busmon.own_memory()
            samples = _flow(busmon, place / "ledger.sqlite", buses, messages, options.say)
            peak = busmon.peak_memory()
    tenth = -(-len(samples) // 10)
    resident, own = ([sample[kind] / MIB for sample in samples] for kind in (0, 1))
    table: list[list[Cell]] = [
        [name, start / MIB, *map(statistics.median, (values[:tenth], values[-tenth:])), highest]
        for name, start, values, highest in (
            ("resident", before, resident, peak / MIB),
            ("of it, not of files", own_before, own, max(own)),
        )
    ]
    return [
        Table(
            title=f"Memory: {messages:,} messages at full speed, MiB",
            columns=["", "before them", "first tenth", "last tenth", "peak"],
            rows=table,
            notes=[
                f"AMQP, MQTT and STOMP with TLS, a ledger of {rows:,} rows. Sampled each second;"
                f" medians of the first and the last tenth of {len(samples)} samples.",
                "What is of files, mostly code of libraries, the kernel can drop and read again.",
                "As in the image: without pytest, which fedora-messaging would import, and with"
                " MALLOC_ARENA_MAX=1. Aim: below 60 MiB, and flat.",
            ],
        )
    ]


def _fedora(broker: RabbitMQ, place: Path, messages: int) -> _Bus:
    return _Bus(
        amqp_bus(broker, place, str(uuid4()), tls=True), from_fedora(messages, 1), broker.publish
    )


def _centos(broker: Mosquitto, certificates: Certificates, messages: int) -> _Bus:
    settings = {
        "type": "mqtt",
        "rules": "centos",
        "url": broker.tls_url,
        "client_id": str(uuid4()),
        "topics": ["git.centos.org/#"],
    }
    return _Bus(settings | _tls(certificates), from_centos(messages), broker.publish)


@contextmanager
def _durable_topic(broker: ActiveMQ, messages: int) -> Iterator[_Bus]:
    place = f"test.{uuid4().hex}"
    settings = {
        "type": "stomp",
        "rules": "packit",
        "tls": True,
        "brokers": [f"localhost:{broker.tls_port}"],
        "destinations": [f"/topic/{place}.>"],
        "client_id": place,
        "topic_pattern": rf"{place}\.(.+)$",
    }
    sent = ((f"/topic/{place}.{one.topic}", one.body) for one in from_fedora(messages, 2))
    with Publisher(broker.port) as publisher:
        yield _Bus(settings | _tls(broker.certificates), sent, publisher.send_all)


def _tls(certificates: Certificates) -> dict[str, Any]:
    certificate, key = certificates.client("busmon")
    return {"ca": certificates.ca, "certificate": certificate, "key": key}


def _flow(
    busmon: Busmon,
    ledger: Path,
    buses: Mapping[str, _Bus],
    messages: int,
    say: Callable[[str], None],
) -> list[tuple[int, int]]:
    """Publish to all buses until all is counted, and return samples of the memory.

    Each sample is the resident memory in bytes, and the part of it not backed by files.
    """
    samples: list[tuple[int, int]] = []
    counted: Counter[str] = Counter()
    stopping = threading.Event()
    shares = {name: messages // len(buses) for name in buses}
    with ThreadPoolExecutor(len(buses)) as pool:
        publishers = [
            pool.submit(_publish, bus, shares[name], partial(counted.__getitem__, name), stopping)
            for name, bus in buses.items()
        ]
        try:
            started = time.monotonic()
            while any(counted[name] < share for name, share in shares.items()):
                time.sleep(LOOK)
                counted.update(_counted(ledger) - counted)
                for publisher in publishers:
                    assert busmon.running, busmon.output()[-3000:]
                    if publisher.done():
                        publisher.result()
                if time.monotonic() - started >= SAMPLE * (len(samples) + 1):
                    samples.append((busmon.memory(), busmon.own_memory()))
                    if len(samples) % 20 == 0:
                        say(f"  {counted.total():,}: {samples[-1][0] / MIB:.1f} MiB")
        finally:
            stopping.set()
    samples.append((busmon.memory(), busmon.own_memory()))
    return samples


def _publish(bus: _Bus, share: int, counted: Callable[[], int], stopping: threading.Event) -> None:
    """Publish a bus's share, so that only WINDOW messages wait to be counted."""
    for start in range(0, share, CHUNK):

        def wanted(start: int = start) -> bool:
            return stopping.is_set() or start - counted() < WINDOW

        wait_until(wanted, CONSUMER_TIMEOUT, "messages to be counted")
        if stopping.is_set():
            return
        bus.publish(list(islice(bus.messages, min(CHUNK, share - start))))


def _counted(ledger: Path) -> Counter[str]:
    """Return how many messages a ledger has counted by now, by bus."""
    counted: Counter[str] = Counter()
    with open_read_only(str(ledger)) as tables:
        for series, count in tables.counters.all().items():
            counted[series.bus] += count.messages
    return counted
