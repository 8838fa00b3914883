"""A queue or session that the broker no longer has: what was sent meanwhile may be lost."""

from pathlib import Path
from typing import Any

from tests.support.brokers import wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.exposition import counter

QUEUE = "5f6d7a4e-3c7b-4a5e-9d70-0d3f7d2b8c11"


def total(busmon: Busmon, name: str) -> int:
    lines = busmon.ask(f"/metrics?name[]={name}")[1]
    return counter("\n".join(lines) + "\n", name, ["bus"])["bus",]


def wait_until_reported(busmon: Busmon) -> None:
    """Wait until /ready, the log and the metrics say that the broker had kept nothing."""
    busmon.wait_until_ready()
    wait_until(lambda: len(busmon.ask("/ready")[1]) == 2, what="/ready to report it")
    status, lines = busmon.ask("/ready")
    assert (status, lines[0]) == (200, "ready")
    assert lines[1].startswith("earlier: bus: the broker kept nothing from 20")
    assert total(busmon, "busmon_bus_forgotten_total") == 1
    assert busmon.logged("WARNING bus: the broker kept nothing from 20")


def test_a_queue_deleted_while_busmon_was_away_is_reported(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    config = rabbitmq.fedora_toml(tmp_path / "fedora.toml", bindings=["forgotten.#"])
    settings: dict[str, Any] = {"type": "amqp", "rules": "all", "config": config, "queue": QUEUE}
    with Busmon(tmp_path, {"bus": settings}) as busmon:
        busmon.wait_until_ready()
        assert busmon.ask("/ready") == (200, ["ready"])  # the queue was new, as busmon was
        rabbitmq.publish([Publication(topic="forgotten.a")])
        wait_until(lambda: busmon.counts().total() == 1, what="the message")
        busmon.terminate()
        rabbitmq.delete_queue(QUEUE)
        busmon.start()
        wait_until_reported(busmon)


def test_a_session_lost_with_its_broker_is_reported(
    certificates: Certificates, tmp_path: Path
) -> None:
    with Mosquitto(tmp_path, certificates) as broker:
        settings: dict[str, Any] = {
            "type": "mqtt",
            "rules": "all",
            "url": broker.url,
            "client_id": "busmon",
            "topics": ["forgotten/#"],
        }
        with Busmon(tmp_path, {"bus": settings}) as busmon:
            busmon.wait_until_ready()
            broker.publish([("forgotten/a", b"{}")])
            wait_until(lambda: busmon.counts().total() == 1, what="the message")
            broker.close()  # it had not written its sessions to disk
            broker.start()
            wait_until_reported(busmon)
