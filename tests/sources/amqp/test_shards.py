"""Busmons with a ledger each share a bus: RabbitMQ divides the messages by their ids.

It is what "Beyond one database" in config/postgresql/README.md describes.
"""

from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pika

from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.busmon_process import Busmon

SHARDS = ("fedora-1", "fedora-2")


def divide(rabbitmq: RabbitMQ) -> None:
    """Make an exchange for each shard, which gets every message with some of the ids."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.admin_url)) as connection:
        channel = connection.channel()
        by_id = {"hash-property": "message_id"}
        channel.exchange_declare("shards", "x-consistent-hash", durable=True, arguments=by_id)
        for shard in SHARDS:
            channel.exchange_declare(shard, "topic", durable=True)
            channel.exchange_bind(shard, "shards", routing_key="1")  # its weight
        channel.exchange_bind("shards", "amq.topic", routing_key="#")


def unite(rabbitmq: RabbitMQ) -> None:
    """Delete these exchanges."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.admin_url)) as connection:
        for exchange in ("shards", *SHARDS):
            connection.channel().exchange_delete(exchange)


def test_busmons_that_share_a_bus_by_id_count_each_message_once(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    divide(rabbitmq)
    with ExitStack() as stack:
        stack.callback(unite, rabbitmq)
        busmons = []
        for shard in SHARDS:
            (directory := tmp_path / shard).mkdir()
            toml = rabbitmq.fedora_toml(directory / "fedora.toml", tls=False)
            toml.write_text(toml.read_text().replace('"amq.topic"', f'"{shard}"'))
            queue = str(uuid4())
            settings = {"type": "amqp", "rules": "packit", "config": toml, "queue": queue}
            stack.callback(rabbitmq.delete_queue, queue)
            busmons.append(Busmon(directory, {shard: settings}))
        for busmon in busmons:
            stack.enter_context(busmon)
        for busmon in busmons:
            busmon.wait_until_ready()
        ids = [str(uuid4()) for _ in range(1000)]
        published = [Publication(topic=f"a.topic.{n % 7}", message_id=i) for n, i in enumerate(ids)]
        rabbitmq.publish(published)
        rabbitmq.publish(published[:300])

        def duplicates() -> int:
            return sum(busmon.duplicates().total() for busmon in busmons)

        wait_until(lambda: duplicates() == 300, what="all messages")
        counts = [busmon.counts().total() for busmon in busmons]
        assert sum(counts) == 1000
        assert min(counts) > 100
