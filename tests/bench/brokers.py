"""The brokers of the benchmarks, and busmon's settings beside them."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.support.brokers.certificates import Certificates
from tests.support.brokers.rabbitmq import VHOST, RabbitMQ

KEEPALIVE = 600  # seconds; longer than a consumer is stopped while its queue is filled


@contextmanager
def unlimited_rabbitmq(directory: Path) -> Iterator[RabbitMQ]:
    """Yield a RabbitMQ without a limit of queues, which waits for a stopped client."""
    certificates = Certificates(directory / "certificates")
    place = directory / "rabbitmq"
    with closing(RabbitMQ(place, certificates)) as broker:
        with (place / "rabbitmq.conf").open("a") as configuration:
            configuration.write(f"tcp_listen_options.send_timeout = {KEEPALIVE * 1000}\n")
        broker.start()
        broker.ctl("clear_policy", "-p", VHOST, "as-on-the-public-broker")
        yield broker


def amqp_bus(broker: RabbitMQ, directory: Path, queue: str, *, tls: bool) -> dict[str, Any]:
    """Return the settings of a bus on this broker, with its file in `directory`."""
    return {
        "type": "amqp",
        "rules": "packit",
        "config": broker.fedora_toml(directory / "fedora.toml", tls=tls),
        "queue": queue,
        "heartbeat": f"{KEEPALIVE}s",
    }
