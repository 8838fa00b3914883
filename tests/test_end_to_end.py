"""busmon beside real brokers: what was published is what is counted."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from busmon.message import Outcome
from tests.samples import FEDORA, FEDORA_FILE
from tests.support.brokers import Server, free_port, wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.streams import FROM_FEDORA, Bus, Stream, assert_exact, by_bus, publish


def test_every_message_is_counted_exactly_once(busmon: Busmon, streams: list[Stream]) -> None:
    publish(streams, 5000)
    assert_exact(busmon, streams)
    assert {outcome for _, _, outcome, _ in busmon.counts()} == set(Outcome)
    assert busmon.duplicates() == {}


def test_the_listener_beside_it_gets_every_message(
    rabbitmq: RabbitMQ, fedora: Bus, tmp_path: Path
) -> None:
    """Both read one configuration, the listener's; its queue is only its own."""
    handled = [s for s in FROM_FEDORA if s.outcome in {"handled", "ignored", "unmapped"}]
    messages = [
        Publication(topic=sample.topic, body=sample.numbered(number), headers=sample.headers)
        for number, sample in zip(range(1000), cycle(handled), strict=False)
    ]
    program = Path(sys.executable).with_name("fedora-messaging")
    listener = Server(
        [program, "--conf", fedora.settings["config"], "consume"],
        tmp_path / "listener.log",
        ready=lambda server: server.logged("Successfully registered"),
    )
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
    with Busmon(tmp_path, {"fedora": bus}) as busmon, prometheus(tmp_path, busmon.port) as ask:
        wait_until(lambda: ask("sum(busmon_messages_total)") == len(FEDORA), what="the sum")
        assert ask("up") == 1
        assert ask('busmon_messages_total{outcome="handled"} > 0') is not None


@contextmanager
def prometheus(directory: Path, target: int) -> Iterator[Callable[[str], float | None]]:
    """Run a Prometheus, and yield what asks it for the first value of an expression."""
    port = free_port()
    configuration = directory / "prometheus.json"  # which is YAML, too
    job = {"job_name": "busmon", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    every = {"scrape_interval": "1s"}
    configuration.write_text(json.dumps({"global": every, "scrape_configs": [job]}))
    server = Server(
        [
            "prometheus",
            f"--config.file={configuration}",
            f"--storage.tsdb.path={directory / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        directory / "prometheus.log",
        ready=lambda server: server.logged("Server is ready to receive web requests"),
    )

    def ask(expression: str) -> float | None:
        query = urlencode({"query": expression})
        with urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    with server:
        yield ask
