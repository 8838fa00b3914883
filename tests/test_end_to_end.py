"""busmon beside real brokers: what was published is what is counted, whatever happens."""

import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import urlopen
from uuid import uuid4

import pytest

from busmon.message import Outcome
from tests.brokers import Server, free_port, wait_until
from tests.brokers.activemq import ActiveMQ, Publisher
from tests.brokers.certificates import Certificates
from tests.brokers.mosquitto import Mosquitto
from tests.brokers.rabbitmq import Publication, RabbitMQ
from tests.busmon_process import Busmon, Series
from tests.samples import CENTOS, CENTOS_FILE, FEDORA, FEDORA_FILE

FEDORA_TOPIC = "org.fedoraproject.prod."
CHUNK = 100  # messages that a publisher sends at once
END = "the.end"  # a topic that no rule knows


class Sample(NamedTuple):
    """A message to publish again and again, and what is to be counted for it."""

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
    """Publishes samples to one bus in turn, and adds up what is to be counted of it."""

    def __init__(self, bus: str, samples: Sequence[Sample], end: str, send: Send) -> None:
        self.bus = bus
        self.expected: Counter[Series] = Counter()
        self._turn = cycle(samples)
        self._numbers = count()
        self._end = Sample(end, "unmapped", "", {})
        self._send = send

    def publish(self, number: int) -> None:
        """Publish so many messages, bit by bit; on return the broker has them."""
        for start in range(0, number, CHUNK):
            self._publish(list(islice(self._turn, min(CHUNK, number - start))))

    def finish(self) -> Series:
        """Publish a message that comes after all others, and return its series."""
        self._publish([self._end])
        return self._series(self._end)

    def _publish(self, samples: Sequence[Sample]) -> None:
        self._send([(sample, sample.numbered(next(self._numbers))) for sample in samples])
        self.expected.update(map(self._series, samples))

    def _series(self, sample: Sample) -> Series:
        return self.bus, sample.topic, sample.outcome, sample.reason


class Bus(NamedTuple):
    """A bus's settings, and what is published there."""

    settings: dict[str, Any]
    stream: Stream


@pytest.fixture
def fedora(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Bus]:
    """Fedora's bus, as the public broker has it: the user's name is in the certificate."""

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

    queue = str(uuid4())
    settings = {
        "type": "amqp",
        "rules": "packit",
        "config": rabbitmq.fedora_toml(tmp_path / "fedora.toml"),
        "queue": queue,
    }
    yield Bus(settings, Stream("fedora", FROM_FEDORA, END, send))
    rabbitmq.delete_queue(queue)


@pytest.fixture
def centos(mosquitto: Mosquitto, certificates: Certificates) -> Bus:
    """CentOS's bus; a host of its own keeps the tests apart."""
    host = f"git-{uuid4().hex[:8]}.centos.org"
    samples = [s._replace(topic=s.topic.replace("git.centos.org", host)) for s in FROM_CENTOS]

    def send(messages: Sequence[tuple[Sample, bytes]]) -> None:
        mosquitto.publish((sample.topic, body) for sample, body in messages)

    certificate, key = certificates.client("busmon")
    settings = {
        "type": "mqtt",
        "rules": "centos",
        "url": mosquitto.tls_url,
        "ca": certificates.ca,
        "certificate": certificate,
        "key": key,
        "client_id": host,
        "topics": [f"{host}/#"],
    }
    return Bus(settings, Stream("centos", samples, f"{host}/{END}", send))


@pytest.fixture
def durable(activemq: ActiveMQ) -> Bus:
    """A durable subscription to STOMP topics."""
    place = f"test.{uuid4().hex}"
    settings = {
        "type": "stomp",
        "rules": "packit",
        "brokers": [f"127.0.0.1:{activemq.port}"],
        "destinations": [f"/topic/{place}.>"],
        "client_id": place,
        "topic_pattern": rf"{place}\.(.+)$",
    }
    send = stomp_sender(activemq, f"/topic/{place}.")
    return Bus(settings, Stream("durable", FROM_FEDORA_BY_STOMP, END, send))


@pytest.fixture
def virtual(activemq: ActiveMQ) -> Bus:
    """A consumer's queue of STOMP VirtualTopics, judged by a listener's own code."""
    place = f"VirtualTopic.{uuid4().hex}"
    settings = {
        "type": "stomp",
        "rules": "tests.listener:get_callback",
        "brokers": [f"127.0.0.1:{activemq.port}"],
        "destinations": [f"/queue/Consumer.busmon.{uuid4()}.{place}.>"],
        "ack": "client-individual",
        "topic_pattern": rf"{place}\.(.+)$",
    }
    send = stomp_sender(activemq, f"/topic/{place}.")
    return Bus(settings, Stream("virtual", FOR_A_LISTENERS_OWN_CODE, END, send))


def stomp_sender(broker: ActiveMQ, prefix: str) -> Send:
    def send(messages: Sequence[tuple[Sample, bytes]]) -> None:
        with Publisher(broker.port) as publisher:
            publisher.send_all([(prefix + sample.topic, body) for sample, body in messages])

    return send


@pytest.fixture
def buses(fedora: Bus, centos: Bus, durable: Bus, virtual: Bus) -> list[Bus]:
    return [fedora, centos, durable, virtual]


@pytest.fixture
def streams(buses: Sequence[Bus]) -> list[Stream]:
    return [bus.stream for bus in buses]


@pytest.fixture
def busmon(buses: Sequence[Bus], tmp_path: Path) -> Iterator[Busmon]:
    """One busmon for all buses, which has subscribed to each of them."""
    with Busmon(tmp_path, {bus.stream.bus: bus.settings for bus in buses}) as busmon:
        busmon.wait_until_ready()
        yield busmon


def assert_exact(busmon: Busmon, streams: Iterable[Stream]) -> None:
    """End the streams, and see that each series of their buses has what was published."""
    last = [stream.finish() for stream in streams]
    expected = sum((stream.expected for stream in streams), Counter[Series]())
    busmon.wait_until_counted(expected, last)


@contextmanager
def publishing(streams: Iterable[Stream], number: int) -> Iterator[None]:
    """Publish so many messages to each bus, to all at once, while the block goes on."""
    with ThreadPoolExecutor() as threads:
        ended = [threads.submit(stream.publish, number) for stream in streams]
        try:
            yield
        finally:
            for future in ended:
                future.result()  # what it raises is the reason of what the block raises


def publish(streams: Iterable[Stream], number: int) -> None:
    """Publish so many messages to each bus, to all at once."""
    with publishing(streams, number):
        pass


@contextmanager
def in_mid_stream(
    busmon: Busmon, streams: Sequence[Stream], needed: Callable[[Iterable[bool]], bool]
) -> Iterator[None]:
    """Begin the block when some messages of `all` buses, or of `any`, have been counted.

    More of them are still to be published or to be counted.
    """
    before = by_bus(busmon.counts())

    def counting() -> bool:
        now = by_bus(busmon.counts())
        return needed(now[stream.bus] > before[stream.bus] for stream in streams)

    with publishing(streams, 300):
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


def test_every_message_is_counted_exactly_once(busmon: Busmon, streams: list[Stream]) -> None:
    publish(streams, 5000)
    assert_exact(busmon, streams)
    assert {outcome for _, _, outcome, _ in busmon.counts()} == set(Outcome)
    assert busmon.duplicates() == {}


def test_killed_in_the_middle_of_a_stream_it_loses_nothing_and_counts_nothing_twice(
    busmon: Busmon, streams: list[Stream]
) -> None:
    """Ten times with every bus at work, and ten times as soon as one is."""
    rng = random.Random(20)
    for _ in range(10):
        busmon.wait_until_ready()
        with in_mid_stream(busmon, streams, all):
            time.sleep(rng.uniform(0, 0.1))  # any instant will do
            busmon.kill()
            busmon.start()
        with in_mid_stream(busmon, streams, any):
            time.sleep(rng.uniform(0, 0.1))
            busmon.kill()
            busmon.start()
    assert_exact(busmon, streams)


def test_asked_to_stop_in_the_middle_of_a_stream_it_has_acknowledged_what_it_recorded(
    busmon: Busmon, streams: list[Stream]
) -> None:
    """Else the brokers would bring something again that the ledger has."""
    for _ in range(3):
        busmon.wait_until_ready()
        with in_mid_stream(busmon, streams, all):
            assert busmon.terminate(seconds=5) == 0
            busmon.start()
    assert_exact(busmon, streams)
    assert busmon.duplicates() == {}


@pytest.mark.timeout(240)  # RabbitMQ takes its time to start, twice
def test_a_broker_that_is_down_loses_nothing_and_holds_up_no_other_bus(
    busmon: Busmon,
    streams: list[Stream],
    rabbitmq: RabbitMQ,
    mosquitto: Mosquitto,
    activemq: ActiveMQ,
) -> None:
    outages: list[tuple[set[str], Callable[[], object], Callable[[], object]]] = [
        ({"fedora"}, rabbitmq.stop, rabbitmq.start),
        ({"fedora"}, rabbitmq.kill, rabbitmq.start),
        ({"centos"}, mosquitto.stop, mosquitto.start),
        ({"durable", "virtual"}, activemq.terminate, activemq.start),
        ({"durable", "virtual"}, activemq.kill, activemq.start),
    ]
    for down, stop, start in outages:
        others = [stream for stream in streams if stream.bus not in down]
        with standing_still(busmon):
            publish(streams, 1000)
        stop()
        try:
            wait_until_told(busmon, down)
            assert_exact(busmon, others)
            assert busmon.terminate(seconds=5) == 0
            busmon.start()
            wait_until_told(busmon, down)
            publish(others, 100)
            assert_exact(busmon, others)
        finally:
            start()
        busmon.wait_until_ready()
    publish(streams, 100)
    assert_exact(busmon, streams)


def wait_until_told(busmon: Busmon, down: Iterable[str]) -> None:
    """Wait until /ready names these buses and no other; /live is not about brokers."""
    told = dict.fromkeys(down, "network")
    wait_until(lambda: busmon.troubles() == told, what=f"{told} to be told")
    assert busmon.ask("/live") == (200, ["live"])


@contextmanager
def standing_still(busmon: Busmon) -> Iterator[None]:
    """Let the brokers have more than busmon has taken."""
    os.kill(busmon.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(busmon.pid, signal.SIGCONT)


def test_the_listener_beside_it_gets_every_message(
    rabbitmq: RabbitMQ, fedora: Bus, tmp_path: Path
) -> None:
    """Both read one configuration, the listener's; its queue is only its own."""
    handled = [s for s in FROM_FEDORA if s.outcome in {"handled", "ignored", "unmapped"}]
    messages = [
        Publication(topic=sample.topic, body=sample.numbered(number), headers=sample.headers)
        for number, sample in zip(range(1000), cycle(handled), strict=False)
    ]
    program = Path(sys.executable).with_name("fedora-messaging")
    listener = Server(
        [program, "--conf", fedora.settings["config"], "consume"],
        tmp_path / "listener.log",
        ready=lambda server: server.logged("Successfully registered"),
    )
    with listener, Busmon(tmp_path, {"fedora": fedora.settings}) as busmon:
        busmon.wait_until_ready()
        rabbitmq.publish(messages)
        wait_until(lambda: len(consumed(listener)) >= len(messages), what="the listener")
        assert consumed(listener) == [message.message_id for message in messages]
        wait_until(lambda: busmon.counts().total() >= len(messages), what="busmon")
        assert by_bus(busmon.counts()) == {"fedora": len(messages)}


def consumed(listener: Server) -> list[str]:
    return re.findall(r"Consuming message from topic .+ \(message id ([\w-]+)\)", listener.output())


def test_prometheus_scrapes_it(tmp_path: Path) -> None:
    bus = {"type": "replay", "rules": "packit", "files": [str(FEDORA_FILE)]}
    with Busmon(tmp_path, {"fedora": bus}) as busmon, prometheus(tmp_path, busmon.port) as ask:
        wait_until(lambda: ask("sum(busmon_messages_total)") == len(FEDORA), what="the sum")
        assert ask("up") == 1
        assert ask('busmon_messages_total{outcome="handled"} > 0') is not None


@contextmanager
def prometheus(directory: Path, target: int) -> Iterator[Callable[[str], float | None]]:
    """Run a Prometheus, and yield what asks it for the first value of an expression."""
    port = free_port()
    configuration = directory / "prometheus.json"  # which is YAML, too
    job = {"job_name": "busmon", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    every = {"scrape_interval": "1s"}
    configuration.write_text(json.dumps({"global": every, "scrape_configs": [job]}))
    server = Server(
        [
            "prometheus",
            f"--config.file={configuration}",
            f"--storage.tsdb.path={directory / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        directory / "prometheus.log",
        ready=lambda server: server.logged("Server is ready to receive web requests"),
    )

    def ask(expression: str) -> float | None:
        query = urlencode({"query": expression})
        with urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    with server:
        yield ask
