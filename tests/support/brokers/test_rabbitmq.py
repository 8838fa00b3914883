"""The tests' RabbitMQ is set up as the public broker is."""

import sys
from pathlib import Path

from tests.support.brokers import Server, wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ


def listener(configuration: Path) -> Server:
    program = Path(sys.executable).with_name("fedora-messaging")
    return Server(
        [program, "--conf", configuration, "consume"],
        configuration.with_suffix(".log"),
        {"PYTHONUNBUFFERED": "1"},
    )


def test_a_listener_logs_in_by_certificate_and_receives(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    message = Publication(topic="org.fedoraproject.prod.copr.build.end")
    with listener(rabbitmq.fedora_toml(tmp_path / "listener.toml")) as consumer:
        wait_until(lambda: consumer.logged("Successfully registered"), what="the listener")
        rabbitmq.publish([message])
        wait_until(lambda: consumer.logged(f"(message id {message.message_id})"), what="a message")


def test_a_listener_may_only_use_queues_named_like_a_uuid(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    with listener(rabbitmq.fedora_toml(tmp_path / "listener.toml", queue="packit")) as consumer:
        assert consumer.wait() != 0
        assert consumer.logged("access to queue 'packit' in vhost '/public_pubsub' refused")
