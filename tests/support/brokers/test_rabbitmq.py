"""The tests' RabbitMQ is set up as the public broker is."""

from pathlib import Path

from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.listener_process import ListenerProcess


def test_a_listener_logs_in_by_certificate_and_receives(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    message = Publication(topic="org.fedoraproject.prod.copr.build.end")
    with ListenerProcess(rabbitmq.fedora_toml(tmp_path / "listener.toml")) as listener:
        rabbitmq.publish([message])
        wait_until(lambda: listener.logged(f"(message id {message.message_id})"), what="a message")


def test_a_listener_may_only_use_queues_named_like_a_uuid(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    toml = rabbitmq.fedora_toml(tmp_path / "listener.toml", queue="packit")
    with ListenerProcess(toml, ready=lambda _: True) as listener:
        assert listener.wait() != 0
        assert listener.logged("access to queue 'packit' in vhost '/public_pubsub' refused")
