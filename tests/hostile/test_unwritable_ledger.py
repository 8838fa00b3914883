"""While the ledger cannot be written, a source takes nothing from its broker."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pika
import pytest

from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.amqp.source import AmqpSource
from busmon.sources.base import Cause
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import EXCHANGE, RabbitMQ
from tests.support.sources import Recorder, once, running, wait_for_problem


@pytest.fixture
def queue(rabbitmq: RabbitMQ) -> Iterator[str]:
    name = str(uuid4())
    yield name
    rabbitmq.delete_queue(name)


def source(rabbitmq: RabbitMQ, directory: Path, key: str, queue: str, **more: object) -> AmqpSource:
    config = rabbitmq.fedora_toml(directory / "fedora.toml", bindings=[key])
    bus = AmqpBus.model_validate({"type": "amqp", "rules": "all", "config": config} | more)
    return AmqpSource("bus", bus, queue)


def test_nothing_is_taken_from_a_queue_with_a_delivery_limit(
    rabbitmq: RabbitMQ, tmp_path: Path, queue: str
) -> None:
    """RabbitMQ drops a message that it delivered more often than that; 4.0 has a default of 20."""
    key = f"limited.{queue}"
    limited = {"x-queue-type": "quorum", "x-delivery-limit": 2}
    recorder = Recorder()
    with closing(pika.BlockingConnection(pika.URLParameters(rabbitmq.admin_url))) as publisher:
        channel = publisher.channel()
        watched = source(rabbitmq, tmp_path, key, queue, queue_arguments=limited)
        with running(watched, recorder):
            recorder.failing = True
            for number in range(100):
                channel.basic_publish(EXCHANGE, key, b'{"n": %d}' % number)
            wait_until(lambda: watched.connection.failures[Cause.LEDGER] >= 4, 60, "four attempts")
            wait_for_problem(watched, "ledger: disk full")
            connects = watched.connection.connects
            recorder.failing = False
            recorder.wait_for(100)
    assert recorder.numbers() == once(100)
    assert connects == 1


def test_it_connects_again_without_a_message_once_there_is_room(
    rabbitmq: RabbitMQ, tmp_path: Path, queue: str
) -> None:
    recorder = Recorder()
    recorder.failing = True
    watched = source(rabbitmq, tmp_path, f"empty.{queue}", queue)
    with running(watched, recorder, connected=False):
        wait_for_problem(watched, "ledger: disk full")
        time.sleep(1)
        assert watched.connection.connects == 0
        recorder.failing = False
        wait_until(lambda: watched.connection.connected, what="the connection")


def test_a_queue_with_other_arguments_is_a_problem_with_advice(
    rabbitmq: RabbitMQ, tmp_path: Path, queue: str
) -> None:
    with closing(pika.BlockingConnection(pika.URLParameters(rabbitmq.admin_url))) as other:
        other.channel().queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    watched = source(rabbitmq, tmp_path, f"other.{queue}", queue)
    with running(watched, Recorder(), connected=False):
        wait_for_problem(
            watched,
            "denied: the broker refuses (406, PRECONDITION_FAILED *'x-queue-type'*);"
            " delete the queue, or set another queue or queue_arguments",
        )
