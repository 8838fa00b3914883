"""A bus of each kind at the tests' brokers: its settings in busmon, and its stream."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from tests.support.brokers.activemq import ActiveMQ, Publisher
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.streams import (
    END,
    FOR_A_LISTENERS_OWN_CODE,
    FROM_CENTOS,
    FROM_FEDORA,
    FROM_FEDORA_BY_STOMP,
    Sample,
    Send,
    Stream,
)


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
    end = END._replace(topic=f"{host}/{END.topic}", outcome="handled")
    return Bus(usual | settings, Stream("centos", samples, end, send))


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
        "topic_header": "original-destination",
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
    **of_fedora: Any,
) -> Iterator[tuple[list[Bus], dict[str, Proxy]]]:
    """Yield a bus of each kind, with heartbeats like this, and the proxies in between by bus.

    `of_fedora` are settings of Fedora's bus.
    """
    with (
        Proxy(rabbitmq.amqps_port) as fedora,
        Proxy(mosquitto.tls_port) as centos,
        Proxy(activemq.port) as durable,
        Proxy(activemq.tls_port) as virtual,
    ):
        certificate, key = certificates.client("stomp")
        tls = {"tls": True, "ca": certificates.ca, "certificate": certificate, "key": key}
        buses = [
            fedora_bus(
                rabbitmq, directory / "fedora.toml", fedora.port, heartbeat=beat, **of_fedora
            ),
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
def started(directory: Path, buses: Iterable[Bus], more: str = "") -> Iterator[Busmon]:
    """Run a busmon for all buses, and begin the block when it has subscribed to each.

    `more` is added to its configuration.
    """
    busmon = Busmon(directory, {bus.stream.bus: bus.settings for bus in buses})
    busmon.configure(more)
    with busmon:
        busmon.wait_until_ready()
        yield busmon
