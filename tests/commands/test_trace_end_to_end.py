"""`busmon trace` beside a listener whose queue is deleted with its connection, as Packit's."""

from pathlib import Path

from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.busmon_process import Busmon
from tests.support.command import busmon as command
from tests.support.tap_reports import TOKEN
from tests.support.tapped_listener import TappedListener


def traced(busmon: Busmon, message_id: str) -> str:
    """Return what is said of the listener."""
    text = command("trace", message_id, "-c", busmon.configuration).stdout
    return text.partition("  listener  ")[2].splitlines()[0]


def test_one_death_of_the_listener_and_what_was_lost_with_its_queue(
    tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis
) -> None:
    listener = TappedListener(tmp_path / "listener", rabbitmq, redis)
    text = listener.toml.read_text()
    listener.toml.write_text(
        text.replace("auto_delete = false", "auto_delete = true").replace(
            "exclusive = false", "exclusive = true"
        )
    )
    bus = {"type": "amqp", "rules": "all", "config": str(listener.toml)}
    busmon = Busmon(tmp_path, {"fedora": bus})
    busmon.configure(f'[audit.reports]\nbus = "fedora"\ntoken = "{TOKEN}"')
    listener.tap(f"{busmon.url}/v1/reports")

    def reported(message_id: str) -> bool:
        return "reported 20" in traced(busmon, message_id)

    try:
        with busmon, listener:
            busmon.wait_until_ready()
            queue = 'busmon_listener_queue_info{bus="fedora",kind="temporary"} 1.0'
            assert queue in busmon.ask("/metrics")[1]
            [first] = listener.publish("pass")
            wait_until(lambda: busmon.counts().total() == 1, what="the first one to be counted")
            wait_until(lambda: reported(first), what="the report of the first one")
            [killer] = listener.publish("raise")
            assert listener.wait() == 13
            [lost] = listener.publish("pass")
            wait_until(lambda: busmon.counts().total() == 3, what="the message to be counted")
            listener.start()
            [last] = listener.publish("pass")
            wait_until(lambda: busmon.counts().total() == 4, what="the last one to be counted")
            wait_until(lambda: reported(last), what="the report")
            text = traced(busmon, killer)
            assert text.startswith("raised, reported 20")
            assert text.endswith(", and what it had prefetched was lost with its queue")
            text = traced(busmon, lost)
            assert text.startswith("no report: as far as its tap shows, no listener ran from 20")
            assert text.endswith(
                "; its queue did not exist then, so the listener never received this"
            )
            assert listener.called() == [first, killer, last]
    finally:
        listener.close()
