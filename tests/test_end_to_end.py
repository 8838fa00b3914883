"""busmon beside real brokers: what was published is what is counted."""

import re
from itertools import cycle
from pathlib import Path

import pytest

from busmon.message import Outcome
from tests.samples import FEDORA, FEDORA_FILE
from tests.support.brokers import Server, wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.buses import Bus
from tests.support.busmon_process import PROJECT, Busmon
from tests.support.celery_worker import CeleryWorker
from tests.support.listener_process import ListenerProcess
from tests.support.prometheus import Prometheus
from tests.support.pushgateway import Pushgateway
from tests.support.streams import FROM_FEDORA, Stream, assert_exact, by_bus, publish
from tests.support.tapped_listener import TappedListener


def test_every_message_is_counted_exactly_once(busmon: Busmon, streams: list[Stream]) -> None:
    publish(streams, 5000)
    assert_exact(busmon, streams)
    assert {outcome for _, _, outcome, _ in busmon.counts()} == set(Outcome)
    assert busmon.duplicates() == {}


def test_the_listener_beside_it_gets_every_message(
    rabbitmq: RabbitMQ, fedora: Bus, tmp_path: Path
) -> None:
    """Both read the listener's configuration; busmon does not use its queue."""
    handled = [s for s in FROM_FEDORA if s.outcome in {"handled", "ignored", "unmapped"}]
    messages = [
        Publication(topic=sample.topic, body=sample.numbered(number), headers=sample.headers)
        for number, sample in zip(range(1000), cycle(handled), strict=False)
    ]
    listener = ListenerProcess(fedora.settings["config"])
    with listener, Busmon(tmp_path, {"fedora": fedora.settings}) as busmon:
        busmon.wait_until_ready()
        rabbitmq.publish(messages)
        wait_until(lambda: len(consumed(listener)) >= len(messages), what="the listener")
        assert consumed(listener) == [message.message_id for message in messages]
        wait_until(lambda: busmon.counts().total() >= len(messages), what="busmon")
        assert by_bus(busmon.counts()) == {"fedora": len(messages)}


def consumed(listener: Server) -> list[str]:
    return re.findall(r"Consuming message from topic .+ \(message id ([\w-]+)\)", listener.output())


def test_prometheus_scrapes_it(tmp_path: Path) -> None:
    bus = {"type": "replay", "rules": "packit", "files": [str(FEDORA_FILE)]}
    busmon = Busmon(tmp_path, {"fedora": bus})
    job = {
        "job_name": "busmon",
        "scrape_interval": "1s",
        "static_configs": [{"targets": [f"127.0.0.1:{busmon.port}"]}],
    }
    with busmon, Prometheus(tmp_path, {"scrape_configs": [job]}) as prometheus:
        handled = 'busmon_messages_total{outcome="handled"} > 0'
        messages = f"sum(busmon_messages_total) and on() up == 1 and on() {handled}"
        wait_until(lambda: prometheus.value(messages) == len(FEDORA), what="the sum")


def test_what_workers_push_is_compared_with_what_should_be_handled(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """Without a tap and without Celery's events: listener, worker, gateway, recording rules."""
    redis, gateway = Redis(tmp_path), Pushgateway(tmp_path)
    pushes = {"PUSHGATEWAY_ADDRESS": gateway.url, "HOSTNAME": "packit-worker-0"}
    worker = CeleryWorker(tmp_path, redis, environment=pushes)
    with redis.server, gateway, worker:
        listener = TappedListener(tmp_path / "listener", rabbitmq, redis)
        bus = {"type": "amqp", "rules": "all", "config": listener.toml}
        try:
            with listener, Busmon(tmp_path, {"fedora": bus}) as busmon:
                busmon.wait_until_ready()
                config = comparing(tmp_path, busmon.port, gateway.port)
                with Prometheus(tmp_path, config) as prometheus:
                    assert_pushed_equals_handled(prometheus, listener)
        finally:
            listener.close()


def comparing(folder: Path, *ports: int) -> dict[str, object]:
    """Return a configuration of Prometheus that scrapes these and has the rules, each second."""
    rules = (PROJECT / "config/prometheus/rules/packit.yml").read_text()
    often = folder / "packit.yml"
    often.write_text(rules.replace("interval: 1m", "interval: 1s"))
    targets = [f"127.0.0.1:{port}" for port in ports]
    labels = {"namespace": "packit--prod"}
    job = {"job_name": "busmon", "static_configs": [{"targets": targets, "labels": labels}]}
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(often)],
        "scrape_configs": [job | {"honor_labels": True}],
    }


def assert_pushed_equals_handled(prometheus: Prometheus, listener: TappedListener) -> None:
    def counted() -> list[float | None]:
        return [prometheus.value(f"sum({name})") for name in (pushed, "busmon_messages_total")]

    pushed = 'events_processed_total{job="packit-worker-0"}'
    listener.publish("pass")
    wait_until(lambda: counted() == [1, 1], what="the first event")
    listener.publish(*["pass"] * 30)  # only what grows has a rate
    wait_until(lambda: counted() == [31, 31], what="all events")
    ratio = "namespace:packit_events_processed:ratio_rate15m"
    wait_until(lambda: prometheus.value(ratio) == pytest.approx(1, rel=0.4), what=ratio)
