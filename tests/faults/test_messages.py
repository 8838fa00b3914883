"""Messages that nobody should send, through real brokers into a busmon as users run it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from tests.support.brokers.activemq import ActiveMQ, Publisher
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.exposition import Series
from tests.support.streams import standing_still

MIB = 1024**2
LARGE = 16 * MIB
GROWTH = 32 * MIB  # bytes for a backlog: some copies of 4 MiB and of one message, no more
HANDLED, NOT_JSON = ("handled", ""), ("invalid", "not-json")
KILLS = ("error", "kills-consumer")
TOO_LARGE, TOO_COSTLY = ("error", "too-large"), ("error", "too-costly")


class Bus(NamedTuple):
    """A bus with the rule set `all`, and a function that publishes bodies to it."""

    settings: dict[str, Any]
    topic: str
    send: Callable[[Sequence[bytes]], object]
    too_deep: tuple[str, str] = NOT_JSON  # what is counted for JSON that is too deep


@pytest.fixture
def amqp(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Bus]:
    topic = f"monsters.{uuid4().hex}"
    config = rabbitmq.fedora_toml(tmp_path / "fedora.toml", bindings=[f"{topic}.#"])
    queue = str(uuid4())

    def send(bodies: Sequence[bytes]) -> None:
        for body in bodies:  # one by one, since the queue holds only 50 MB
            rabbitmq.publish([Publication(topic=topic, body=body)])

    settings = {"type": "amqp", "rules": "all", "config": config, "queue": queue}
    yield Bus(settings, topic, send, KILLS)
    rabbitmq.delete_queue(queue)


@pytest.fixture
def mqtt(mosquitto: Mosquitto) -> Bus:
    root = f"monsters-{uuid4().hex}"
    settings = {"type": "mqtt", "url": mosquitto.url, "topics": [f"{root}/#"], "client_id": root}
    topic = f"{root}/a"
    return Bus(
        settings | {"rules": "all"},
        topic,
        lambda bodies: mosquitto.publish([(topic, body) for body in bodies]),
    )


@pytest.fixture
def stomp(activemq: ActiveMQ) -> Bus:
    topic = f"test.{uuid4().hex}"
    destination = f"/queue/{topic}"

    def send(bodies: Sequence[bytes]) -> None:
        with Publisher(activemq.port) as publisher:
            for body in bodies:  # one by one, since the broker's memory is small
                publisher.send(destination, body)

    brokers = [f"127.0.0.1:{activemq.port}"]
    settings = {"type": "stomp", "brokers": brokers, "destinations": [destination]}
    return Bus(settings | {"rules": "all"}, topic, send)


@pytest.fixture(params=["amqp", "mqtt", "stomp"])
def bus(request: pytest.FixtureRequest) -> Bus:
    made: Bus = request.getfixturevalue(request.param)
    return made


def padded(number: int, size: int) -> bytes:
    return b'{"n": %d, "pad": "%s"}' % (number, b"x" * size)


MONSTERS = [
    (padded(0, LARGE), TOO_LARGE),
    (b"\0" * LARGE, TOO_LARGE),
    (b"{" + b",".join(b'"%d":0' % n for n in range(1_000_000)) + b"}", TOO_LARGE),
    (b"{" + b",".join(b'"%d":0' % n for n in range(150_000)) + b"}", TOO_COSTLY),
    (b'{"a":[' + b",".join([b"{}"] * 600_000) + b"]}", TOO_COSTLY),
    (b"\0" * MIB, NOT_JSON),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, None),
    (rb'{"a": "\u0000", "b": "\ud800", "\udfff": 1}', HANDLED),
    (b'{"a": "\0"}', NOT_JSON),
    (b'{"a": %s}' % (b"9" * 4000), HANDLED),
    (b'{"a": %s}' % (b"9" * 5000), NOT_JSON),
    (b'{"a": 1e999999, "b": NaN, "c": -Infinity}', HANDLED),
    (b'{"a": 1, "a": {}, "a": null}', HANDLED),
]


def test_each_hard_message_and_the_next_one_are_counted_once(bus: Bus, tmp_path: Path) -> None:
    with Busmon(tmp_path, {"bus": bus.settings}) as busmon:
        busmon.wait_until_ready()
        bus.send([body for monster, _ in MONSTERS for body in (monster, b"{}")])
        verdicts = [verdict or bus.too_deep for _, verdict in MONSTERS] + [HANDLED] * len(MONSTERS)
        expected: Counter[Series] = Counter(("bus", bus.topic, *verdict) for verdict in verdicts)
        busmon.wait_until_counted(expected, [("bus", bus.topic, *HANDLED)])
        assert busmon.duplicates() == {}
        assert connects(busmon) == 1


def connects(busmon: Busmon) -> int:
    _, lines = busmon.ask("/metrics")
    (line,) = (line for line in lines if line.startswith("busmon_bus_connects_total{"))
    return int(float(line.split()[-1]))


def test_a_backlog_of_large_messages_is_never_in_memory_at_once(bus: Bus, tmp_path: Path) -> None:
    size, backlog = 4 * MIB, 20
    with Busmon(tmp_path, {"bus": bus.settings}) as busmon:
        busmon.wait_until_ready()
        before = busmon.peak_memory()
        with standing_still(busmon):
            bus.send([padded(number, size) for number in range(backlog)])
        series = ("bus", bus.topic, *TOO_LARGE)
        busmon.wait_until_counted(Counter({series: backlog}), [series])
        assert busmon.peak_memory() - before < GROWTH


def test_ids_of_every_kind_are_distinguished(rabbitmq: RabbitMQ, amqp: Bus, tmp_path: Path) -> None:
    """A message that reuses an id is a duplicate, whatever its body; one without an id is none."""
    ids = [None, None, "", "", "x" * 255, "a\0", "a\0b", "a", " a", "é", "\u2028"]
    bodies = [(identity, b'{"n": %d}' % n) for n, identity in enumerate(ids)]
    with Busmon(tmp_path, {"bus": amqp.settings}) as busmon:
        busmon.wait_until_ready()
        rabbitmq.publish(
            Publication(topic=amqp.topic, body=body, message_id=identity)
            for identity, body in [*bodies, ("a", b'{"another": "body"}')]
        )
        amqp.send([b"{}"])
        series = ("bus", amqp.topic, *HANDLED)
        busmon.wait_until_counted(Counter({series: len(ids) + 1}), [series])
        assert busmon.duplicates() == {("bus",): 1}


def test_an_id_of_10_kb_is_an_id_as_any_other(
    activemq: ActiveMQ, stomp: Bus, tmp_path: Path
) -> None:
    """STOMP's broker takes headers of 10 KiB. The two ids differ only in their last character."""
    (destination,) = stomp.settings["destinations"]
    ids = ["x" * 9_999 + last for last in "aba"]
    with Busmon(tmp_path, {"bus": stomp.settings | {"id_header": "key"}}) as busmon:
        busmon.wait_until_ready()
        with Publisher(activemq.port) as publisher:
            for number, identity in enumerate([*ids, "last"]):
                publisher.send(destination, {"n": number}, key=identity)
        series = ("bus", stomp.topic, *HANDLED)
        busmon.wait_until_counted(Counter({series: 3}), [series])
        assert busmon.duplicates() == {("bus",): 1}


def test_the_longest_topics_of_amqp_are_counted_under_their_full_names(
    rabbitmq: RabbitMQ, amqp: Bus, tmp_path: Path
) -> None:
    """AMQP allows 255 bytes, and busmon 255 characters."""
    root = f"{amqp.topic}.a"
    room = 255 - len(root)
    topics = [root + "x" * room, root + "ä" * (room // 2)]
    assert [len(topic.encode()) for topic in topics] == [255, 255]
    with Busmon(tmp_path, {"bus": amqp.settings}) as busmon:
        busmon.wait_until_ready()
        rabbitmq.publish(Publication(topic=topic) for topic in topics * 2)
        expected: Counter[Series] = Counter({("bus", topic, *HANDLED): 2 for topic in topics})
        busmon.wait_until_counted(expected, expected)


def test_the_longest_topic_of_mqtt_is_one_series_of_255_characters(
    mosquitto: Mosquitto, mqtt: Bus, tmp_path: Path
) -> None:
    longest = mqtt.topic + "ä" * ((65_535 - len(mqtt.topic)) // 2)
    with Busmon(tmp_path, {"bus": mqtt.settings}) as busmon:
        busmon.wait_until_ready()
        mosquitto.publish([(longest, b"{}"), (longest, json.dumps({"n": 1}).encode())])
        series = ("bus", longest[:255], *HANDLED)
        busmon.wait_until_counted(Counter({series: 2}), [series])
