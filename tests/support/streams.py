"""Streams of messages, and what busmon must count of them."""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, cycle, islice
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple
from uuid import uuid4

from tests.samples import CENTOS, CENTOS_FILE, FEDORA, FEDORA_FILE
from tests.support.brokers import wait_until
from tests.support.brokers.activemq import ActiveMQ, Publisher
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.exposition import Series

FEDORA_TOPIC = "org.fedoraproject.prod."
CHUNK = 100  # messages that a publisher sends at once
PAUSE = 0.3  # seconds between them in `publishing`
END = "the.end"  # a topic that no rule knows


class Sample(NamedTuple):
    """A message to publish repeatedly, and how busmon must judge it."""

    topic: str
    outcome: str
    reason: str
    body: Any  # bytes go as they are
    headers: Mapping[str, Any] = {}
    encoding: str = "utf-8"

    def numbered(self, number: int) -> bytes:
        """Return the body with a number in it, so that no two messages are the same."""
        if isinstance(self.body, bytes):
            return self.body + b"%d" % number
        if isinstance(self.body, dict):
            return json.dumps(self.body | {"number": number}).encode()
        return json.dumps([*self.body, number]).encode()


def recorded(file: Path, table: Iterable[tuple[str, str, str]]) -> list[Sample]:
    records = map(json.loads, file.read_text().splitlines())
    return [
        Sample(*row, record.get("body", record.get("payload")), record.get("headers", {}))
        for row, record in zip(table, records, strict=True)
    ]


def unreadable(topic: str) -> list[Sample]:
    return [
        Sample(topic, "invalid", "not-utf8", b"\xff"),
        Sample(topic, "invalid", "not-json", b"{"),
        Sample(topic, "invalid", "not-object", []),
    ]


COPR = FEDORA_TOPIC + "copr.build.end"
FROM_FEDORA = [
    *recorded(FEDORA_FILE, FEDORA),
    *unreadable(COPR),
    Sample(COPR, "invalid", "schema", {"build": 1}, {"fedora_messaging_schema": "copr.build.end"}),
    Sample(COPR, "error", "kills-consumer", {}, encoding="no-such-encoding"),
]
# STOMP has no headers of fedora-messaging that could be wrong.
FROM_FEDORA_BY_STOMP = [
    *(s for s in recorded(FEDORA_FILE, FEDORA) if s.reason not in {"headers", "kills-consumer"}),
    *unreadable(COPR),
]
FROM_CENTOS = [
    *recorded(CENTOS_FILE, CENTOS),
    *unreadable("git.centos.org/pull-request.new"),
]
FOR_A_LISTENERS_OWN_CODE = [
    Sample("builds", "handled", "", {"user": "packit"}),
    Sample("builds", "ignored", "not-passed", {"user": "alice"}),
    Sample("builds", "error", "rule-raises", {}),
    Sample("everything", "handled", "", {}),
    Sample("unknown", "unmapped", "", {}),
    *unreadable("everything"),
]

Send = Callable[[Sequence[tuple[Sample, bytes]]], object]


class Stream:
    """Publishes samples to one bus in turn, and adds up what busmon must count."""

    def __init__(self, bus: str, samples: Sequence[Sample], end: str, send: Send) -> None:
        self.bus = bus
        self.expected: Counter[Series] = Counter()
        self.end = Sample(end, "unmapped", "", {})
        self._turn = cycle(samples)
        self._numbers = count()
        self._send = send

    def publish(self, number: int) -> None:
        """Publish so many messages in chunks; on return the broker has them."""
        for start in range(0, number, CHUNK):
            self.publish_all(list(islice(self._turn, min(CHUNK, number - start))))

    def publish_all(self, samples: Sequence[Sample]) -> None:
        """Publish just these."""
        self._send([(sample, sample.numbered(next(self._numbers))) for sample in samples])
        self.expected.update(map(self._series, samples))

    def finish(self) -> Series:
        """Publish a message that comes after all others, and return its series."""
        self.publish_all([self.end])
        return self._series(self.end)

    def _series(self, sample: Sample) -> Series:
        return self.bus, sample.topic, sample.outcome, sample.reason


class Bus(NamedTuple):
    """A bus's settings, and what is published there."""

    settings: dict[str, Any]
    stream: Stream


def fedora_bus(rabbitmq: RabbitMQ, toml: Path, port: int | None = None, **settings: Any) -> Bus:
    """Fedora's bus, as the public broker has it: the user's name is in the certificate.

    `port` is for a proxy in between, here as below, and `settings` are added to the bus's.
    """

    def send(messages: Sequence[tuple[Sample, bytes]]) -> None:
        rabbitmq.publish(
            Publication(
                topic=sample.topic,
                body=body,
                headers=sample.headers,
                properties={"content_encoding": sample.encoding},
            )
            for sample, body in messages
        )

    usual = {
        "type": "amqp",
        "rules": "packit",
        "config": rabbitmq.fedora_toml(toml, port=port),
        "queue": str(uuid4()),
    }
    return Bus(usual | settings, Stream("fedora", FROM_FEDORA, END, send))


def centos_bus(
    mosquitto: Mosquitto, certificates: Certificates, port: int | None = None, **settings: Any
) -> Bus:
    """CentOS's bus; a host of its own keeps the tests apart."""
    host = f"git-{uuid4().hex[:8]}.centos.org"
    samples = [s._replace(topic=s.topic.replace("git.centos.org", host)) for s in FROM_CENTOS]

    def send(messages: Sequence[tuple[Sample, bytes]]) -> None:
        mosquitto.publish((sample.topic, body) for sample, body in messages)

    certificate, key = certificates.client("busmon")
    usual = {
        "type": "mqtt",
        "rules": "centos",
        "url": f"mqtts://localhost:{port or mosquitto.tls_port}",
        "ca": certificates.ca,
        "certificate": certificate,
        "key": key,
        "client_id": host,
        "topics": [f"{host}/#"],
    }
    return Bus(usual | settings, Stream("centos", samples, f"{host}/{END}", send))


def durable_bus(activemq: ActiveMQ, port: int | None = None, **settings: Any) -> Bus:
    """A durable subscription to STOMP topics."""
    place = f"test.{uuid4().hex}"
    usual = {
        "type": "stomp",
        "rules": "packit",
        "brokers": [f"127.0.0.1:{port or activemq.port}"],
        "destinations": [f"/topic/{place}.>"],
        "client_id": place,
        "topic_pattern": rf"{place}\.(.+)$",
    }
    send = stomp_sender(activemq, f"/topic/{place}.")
    return Bus(usual | settings, Stream("durable", FROM_FEDORA_BY_STOMP, END, send))


def virtual_bus(activemq: ActiveMQ, port: int | None = None, **settings: Any) -> Bus:
    """A consumer's queue of STOMP VirtualTopics, judged by a listener's own code."""
    place = f"VirtualTopic.{uuid4().hex}"
    usual = {
        "type": "stomp",
        "rules": "tests.support.listener:get_callback",
        "brokers": [f"127.0.0.1:{port or activemq.port}"],
        "destinations": [f"/queue/Consumer.busmon.{uuid4()}.{place}.>"],
        "ack": "client-individual",
        "topic_pattern": rf"{place}\.(.+)$",
    }
    send = stomp_sender(activemq, f"/topic/{place}.")
    return Bus(usual | settings, Stream("virtual", FOR_A_LISTENERS_OWN_CODE, END, send))


@contextmanager
def proxied(
    rabbitmq: RabbitMQ,
    mosquitto: Mosquitto,
    activemq: ActiveMQ,
    certificates: Certificates,
    directory: Path,
    beat: str,
) -> Iterator[tuple[list[Bus], dict[str, Proxy]]]:
    """Yield a bus of each kind, with heartbeats like this, and the proxies in between by bus."""
    with (
        Proxy(rabbitmq.amqps_port) as fedora,
        Proxy(mosquitto.tls_port) as centos,
        Proxy(activemq.port) as durable,
        Proxy(activemq.tls_port) as virtual,
    ):
        certificate, key = certificates.client("stomp")
        tls = {"tls": True, "ca": certificates.ca, "certificate": certificate, "key": key}
        buses = [
            fedora_bus(rabbitmq, directory / "fedora.toml", fedora.port, heartbeat=beat),
            centos_bus(mosquitto, certificates, centos.port, keepalive=beat),
            durable_bus(activemq, durable.port, heartbeat=beat),
            virtual_bus(activemq, virtual.port, heartbeat=beat, **tls),
        ]
        proxies = fedora, centos, durable, virtual
        yield buses, dict(zip((bus.stream.bus for bus in buses), proxies, strict=True))


def stomp_sender(broker: ActiveMQ, prefix: str) -> Send:
    def send(messages: Sequence[tuple[Sample, bytes]]) -> None:
        with Publisher(broker.port) as publisher:
            publisher.send_all([(prefix + sample.topic, body) for sample, body in messages])

    return send


@contextmanager
def started(directory: Path, buses: Iterable[Bus]) -> Iterator[Busmon]:
    """Run a busmon for all buses, and begin the block when it has subscribed to each."""
    with Busmon(directory, {bus.stream.bus: bus.settings for bus in buses}) as busmon:
        busmon.wait_until_ready()
        yield busmon


def assert_exact(busmon: Busmon, streams: Iterable[Stream]) -> None:
    """End the streams, and check that each series of their buses has what was published."""
    last = [stream.finish() for stream in streams]
    expected = sum((stream.expected for stream in streams), Counter[Series]())
    busmon.wait_until_counted(expected, last)


def publish(streams: Iterable[Stream], number: int) -> None:
    """Publish so many messages to each bus, in parallel."""
    with ThreadPoolExecutor() as threads:
        for _ in threads.map(lambda stream: stream.publish(number), streams):
            pass


@contextmanager
def publishing(streams: Iterable[Stream]) -> Iterator[None]:
    """Publish to each bus, in parallel, from the start of the block until after its end."""
    ended = Event()

    def publish_on(stream: Stream) -> None:
        while not ended.wait(PAUSE):
            stream.publish(CHUNK)
        stream.publish(CHUNK)

    with ThreadPoolExecutor() as threads:
        all_published = [threads.submit(publish_on, stream) for stream in streams]
        try:
            yield
        finally:
            ended.set()
            for future in all_published:
                future.result()  # its error explains the one of the block


@contextmanager
def in_mid_stream(
    busmon: Busmon, streams: Sequence[Stream], needed: Callable[[Iterable[bool]], bool]
) -> Iterator[None]:
    """Begin the block when messages of `all` buses, or of `any`, have been counted.

    More of them are published meanwhile, and some after the block.
    """
    before = by_bus(busmon.counts())

    def counting() -> bool:
        now = by_bus(busmon.counts())
        return needed(now[stream.bus] > before[stream.bus] for stream in streams)

    with publishing(streams):
        try:
            wait_until(counting, what="messages to be counted")
        except AssertionError as error:
            error.add_note(f"counted before: {before}, now: {by_bus(busmon.counts())}")
            error.add_note("\n".join(busmon.ask("/ready")[1]))
            raise
        yield


def by_bus(counts: Mapping[Series, int]) -> Counter[str]:
    total: Counter[str] = Counter()
    for (bus, *_), messages in counts.items():
        total[bus] += messages
    return total


@contextmanager
def standing_still(busmon: Busmon) -> Iterator[None]:
    """Suspend busmon, so that the brokers have more than it has taken."""
    os.kill(busmon.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(busmon.pid, signal.SIGCONT)
