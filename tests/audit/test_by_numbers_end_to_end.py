"""The comparison by numbers, beside a real broker and a listener without a tap."""

import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pika
from prometheus_client.parser import text_string_to_metric_families

from busmon.ledger.listener import Poll
from busmon.ledger.sqlite import open_read_only
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.command import busmon_process
from tests.support.monitored_listener import MonitoredListener

BEFORE = 400  # messages that the listener had before, so that it does not look restarted
LOST = 20
DEADLINE = 60.0  # seconds


def audited(busmon: Busmon) -> dict[str, float]:
    """Return the audit's metrics of the listener, by name."""
    _, lines = busmon.ask("/metrics")
    return {
        sample.name.removeprefix("busmon_audit_"): sample.value
        for family in text_string_to_metric_families("\n".join(lines) + "\n")
        for sample in family.samples
        if sample.name.startswith("busmon_audit_") and sample.labels.get("stage") == "listener"
    }


def publish_only_to_busmon(directory: Path, rabbitmq: RabbitMQ) -> None:
    """Publish to busmon's own queue, since nobody else may change the listener's bindings.

    Do so half-way between two answers of the monitor, of which three come in a window here:
    what arrives together with an answer is taken for noise.
    """
    with open_read_only(str(directory / "ledger.sqlite")) as tables:
        queue = tables.buses.queue("fedora")

        def polls() -> list[Poll]:
            return tables.listener.polls("fedora", 0, time.time())

        before = len(polls())
        wait_until(lambda: len(polls()) > before, what="the next answer")
        polled_at = polls()[-1].at
    wait_until(lambda: time.time() > polled_at + 0.9, what="the middle")
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.admin_url)) as connection:
        channel = connection.channel()
        for _ in range(LOST):
            properties = pika.BasicProperties("application/json", "utf-8", {}, 2)
            properties.message_id = str(uuid4())
            channel.basic_publish("", queue, b"{}", properties)


def test_what_a_listener_without_a_tap_did_not_receive_is_missing(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    listener = MonitoredListener(tmp_path, rabbitmq)
    toml = rabbitmq.fedora_toml(tmp_path / "fedora.toml", bindings=[listener.key], tls=True)
    busmon = Busmon(tmp_path, {"fedora": {"type": "amqp", "rules": "all", "config": toml}})
    busmon.configure('[audit]\nwindow = "4s"\ngrace = "2s"')
    busmon.configure(f'[audit.ready]\nbus = "fedora"\nurl = "{listener.url}"\ninterval = "2s"')

    def publish_until(reached: Callable[[dict[str, float]], object]) -> dict[str, float]:
        """Let the bus flow, two messages a second."""
        deadline = time.monotonic() + DEADLINE
        while not reached(found := audited(busmon)):
            assert time.monotonic() < deadline, found
            listener.publish("pass")
            time.sleep(0.5)
        return found

    with listener:
        listener.publish(*["pass"] * BEFORE)
        with busmon:
            busmon.wait_until_ready()
            found = publish_until(lambda found: found["messages_total"] > 10)
            assert (found["exact"], found["missing_total"]) == (0, 0)
            publish_only_to_busmon(tmp_path, rabbitmq)
            publish_until(lambda found: found["missing_total"])
            closed = audited(busmon)["messages_total"]
            found = publish_until(lambda found: found["messages_total"] > closed + 12)
            assert LOST / 2 < found["missing_total"] <= LOST
            line = f"{found['missing_total']:.0f} missing, compared by numbers"
            assert line in busmon_process("gaps", "-c", busmon.configuration, status=1).stdout
