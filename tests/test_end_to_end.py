"""busmon beside real brokers: what was published is what is counted."""

import re
from itertools import cycle
from pathlib import Path

from busmon.message import Outcome
from tests.samples import FEDORA, FEDORA_FILE
from tests.support.brokers import Server, wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.buses import Bus
from tests.support.busmon_process import Busmon
from tests.support.listener_process import ListenerProcess
from tests.support.prometheus import Prometheus
from tests.support.streams import FROM_FEDORA, Stream, assert_exact, by_bus, publish


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
        messages = "sum(busmon_messages_total)"
        wait_until(lambda: prometheus.value(messages) == len(FEDORA), what="the sum")
        assert prometheus.value("up") == 1
        assert prometheus.now('busmon_messages_total{outcome="handled"} > 0')
