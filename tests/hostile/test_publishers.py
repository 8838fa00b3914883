"""Whatever a publisher sends between two honest messages, both are counted once.

And nothing that a publisher writes into one message makes another one of it.
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika
import pytest

from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.amqp.source import AmqpSource
from busmon.sources.base import Source
from busmon.sources.mqtt import packets
from busmon.sources.mqtt.packets import Kind
from busmon.sources.mqtt.source import MqttSource
from busmon.sources.stomp.settings import StompBus
from busmon.sources.stomp.source import StompSource
from tests.support.brokers.activemq import PASSCODE, ActiveMQ
from tests.support.brokers.activemq import USER as ACTIVEMQ_USER
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.rabbitmq import EXCHANGE, USER, VHOST, RabbitMQ
from tests.support.mqtt import settings_of
from tests.support.sources import Recorder, running

FORGED = b"{}\0MESSAGE\nsubscription:/topic/test.hostile\ndestination:/topic/forged\nack:1\n\n{}\0"


def assert_honest(source: Source, send: Callable[[int], object], hostile: Sequence[object]) -> None:
    """Send each thing between two honest messages, and look at what is received."""
    recorder = Recorder()
    with running(source, recorder):
        send(0)
        for number in range(len(hostile)):
            send(number + 1)
        recorder.wait_for(2 * len(hostile) + 1)
        assert source.connection.connects == 1
    assert len(recorder.counted) == 2 * len(hostile) + 1
    honest = [message.get("honest") for message in recorder.counted]
    assert [number for number in honest if number is not None] == list(range(len(hostile) + 1))
    assert not [message.topic for message in recorder.counted if "forged" in message.topic]


# --- STOMP ------------------------------------------------------------------------------

SENDS = [
    ("Content-Length:999999999", b"{}"),
    ("CONTENT-LENGTH:1", b"{}"),
    ("Content-length:2", b"{}"),
    (f"Content-Length:2\ncontent-length:{len(FORGED)}", FORGED),
    (f"content-length:{len(FORGED)}", FORGED),
    ("content-length:4", b"\0\n\0\n"),
    ("content-length:0", b""),
    ("x:a\\nb\\cc\\\\d", b"{}"),
    ("content-type:text/plain\nredelivered:true\ntimestamp:5", b"{}"),
    ("x:" + "y" * 9000, b"{}"),
]


class StompPublisher:
    """Writes the frames that no library would."""

    def __init__(self, port: int, host: str, login: str, passcode: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._send(
            "CONNECT", f"accept-version:1.2\nhost:{host}\nlogin:{login}\npasscode:{passcode}"
        )
        assert b"CONNECTED" in self._socket.recv(4096)

    def publish(self, destination: str, headers: str, body: bytes) -> None:
        """Send a message, and wait until the broker has it."""
        receipt = uuid4().hex
        self._send("SEND", f"destination:{destination}\nreceipt:{receipt}\n{headers}", body)
        assert receipt in self._socket.recv(4096).decode()

    def _send(self, command: str, headers: str, body: bytes = b"") -> None:
        self._socket.sendall(f"{command}\n{headers}\n\n".encode() + body + b"\0")

    def close(self) -> None:
        self._socket.close()


@contextmanager
def stomp_bus(broker: ActiveMQ | RabbitMQ) -> Iterator[tuple[StompSource, StompPublisher, str]]:
    destination = f"/topic/test.hostile.{uuid4().hex}"
    settings: dict[str, Any] = {"heartbeat": 5}
    if isinstance(broker, RabbitMQ):
        port, login = broker.stomp_port, (VHOST, *USER)
        settings |= {"vhost": VHOST, "login": USER[0], "passcode": USER[1]}
    else:
        port, login = broker.port, ("x", ACTIVEMQ_USER, PASSCODE)
    settings |= {"brokers": [f"127.0.0.1:{port}"], "destinations": [destination]}
    bus = StompBus(type="stomp", rules="all", **settings)
    with closing(StompPublisher(port, *login)) as publisher:
        yield StompSource("bus", bus), publisher, destination


@pytest.mark.parametrize("broker", ["activemq", "rabbitmq"])
def test_no_header_and_no_body_decides_where_a_frame_of_stomp_ends(
    broker: str, request: pytest.FixtureRequest
) -> None:
    with stomp_bus(request.getfixturevalue(broker)) as (source, publisher, destination):

        def send(number: int) -> None:
            if number:
                publisher.publish(destination, *SENDS[number - 1])
            publisher.publish(destination, "", b'{"honest": %d}' % number)

        assert_honest(source, send, SENDS)


HEADS = [
    "\n".join(f"x{number}:{'y' * 9000}" for number in range(900)),
    "\n".join(f"x{number}:" for number in range(999)),
    "ack:forged\nsubscription:forged\nmessage-id:same\nredelivered:true\nreceipt-id:x",
]


def test_no_head_that_activemq_takes_ends_the_connection(activemq: ActiveMQ) -> None:
    """ActiveMQ takes a thousand headers of 10 KiB from a publisher."""
    with stomp_bus(activemq) as (source, publisher, destination):

        def send(number: int) -> None:
            if number:
                publisher.publish(destination, HEADS[number - 1], b"{}")
            publisher.publish(destination, "", b'{"honest": %d}' % number)

        assert_honest(source, send, HEADS)


HEADERS: list[dict[str, Any]] = [
    {"content-length": "999999999"},
    {"content-length": "1", "Content-Length": "1", "CONTENT-LENGTH": 5},
    {"destination": "/topic/forged", "subscription": "forged", "ack": "forged"},
    {"message-id": "forged", "amqp-message-id": "same", "redelivered": "true"},
    {"a\nb:c\\d\r": "\0\n\n\0\nMESSAGE\n\n\0"},
    {"é" * 100: "ü" * 10_000},
    {str(number): "x" * 100 for number in range(500)},
]


def test_headers_of_amqp_decide_nothing_in_a_frame_of_stomp(rabbitmq: RabbitMQ) -> None:
    with (
        stomp_bus(rabbitmq) as (source, _, destination),
        closing(pika.BlockingConnection(pika.URLParameters(rabbitmq.admin_url))) as publisher,
    ):
        key, channel = destination.removeprefix("/topic/"), publisher.channel()

        def send(number: int) -> None:
            if number:
                properties = pika.BasicProperties(headers=HEADERS[number - 1])
                channel.basic_publish(EXCHANGE, key, b"{}", properties)
            channel.basic_publish(EXCHANGE, key, b'{"honest": %d}' % number)

        assert_honest(source, send, HEADERS)


# --- AMQP -------------------------------------------------------------------------------

PROPERTIES: list[tuple[dict[str, Any], bytes]] = [
    *(({"headers": headers}, b"{}") for headers in HEADERS),
    ({"content_encoding": "punycode"}, b"-" + b"9" * 400_000),
    ({"content_encoding": "idna"}, b"xn--b." * 300_000),
    ({"content_encoding": "invented"}, b"{}"),
    ({"message_id": "x" * 255, "content_encoding": "\0"}, b"{}"),
    ({"headers": {"fedora_messaging_schema": "x" * 100_000}}, b"{}"),
    ({}, b"[" * 900 + b"]" * 900),
    ({}, b'{"":' * 100_000),
    ({}, b"[" + b",".join([b'{"":0}'] * 290_000) + b"]"),
    ({}, b'{"a":' + b",".join([b"1e308"] * 10_000)),
]


def test_no_property_and_no_body_of_amqp_holds_up_what_follows(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    key, queue = f"hostile.{uuid4().hex}", str(uuid4())
    config = rabbitmq.fedora_toml(tmp_path / "fedora.toml", bindings=[key])
    source = AmqpSource("bus", AmqpBus(type="amqp", rules="all", config=config), queue)
    with closing(pika.BlockingConnection(pika.URLParameters(rabbitmq.admin_url))) as publisher:
        channel = publisher.channel()

        def send(number: int) -> None:
            if number:
                properties, body = PROPERTIES[number - 1]
                channel.basic_publish(EXCHANGE, key, body, pika.BasicProperties(**properties))
            channel.basic_publish(EXCHANGE, key, b'{"honest": %d}' % number)

        assert_honest(source, send, PROPERTIES)
    rabbitmq.delete_queue(queue)


# --- MQTT -------------------------------------------------------------------------------

USER_PROPERTY = b"\x26\0\0\0\0"
PUBLISHES = [
    (USER_PROPERTY * 40_000, b"{}"),
    (USER_PROPERTY * 400_000, b"{}"),
    (b"", b"\0" * 1000),
    (b"\x01\x01\x03\0\x10application/json\x08\0\5reply\x09\0\3\0\1\2", b"{}"),
    (b"", b"[" * 1_000_000),
    (b"", b"\x30\x05\0\1a{}" * 1000),
]


def test_no_property_and_no_payload_of_mqtt_holds_up_what_follows(mosquitto: Mosquitto) -> None:
    topic = f"hostile-{uuid4().hex}"
    source = MqttSource("bus", settings_of(mosquitto.url, topic))
    with socket.create_connection(("127.0.0.1", mosquitto.port)) as publisher:
        connect = packets.write_text("MQTT") + b"\5\2\0\0" + b"\0" + packets.write_text("")
        publisher.sendall(packets.write_packet(Kind.CONNECT, connect))
        assert publisher.recv(4096)[0] == Kind.CONNACK << 4

        def publish(properties: bytes, payload: bytes) -> None:
            head = packets.write_text(f"{topic}/a") + b"\0\1"
            head += packets.write_properties(properties)
            publisher.sendall(packets.write_packet(Kind.PUBLISH, head + payload, flags=2))
            assert publisher.recv(4096)[0] == Kind.PUBACK << 4

        def send(number: int) -> None:
            if number:
                publish(*PUBLISHES[number - 1])
            publish(b"", b'{"honest": %d}' % number)

        assert_honest(source, send, PUBLISHES)
