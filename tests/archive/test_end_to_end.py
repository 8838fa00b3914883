"""`busmon learn`, and the service with an archive."""

import json
import re
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

from busmon.ledger.batch import Observation, Series
from busmon.ledger.ledger import Ledger
from tests.archive.test_client import answering
from tests.support.brokers import free_port, wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.command import busmon
from tests.support.datagrepper import Datagrepper, Sent
from tests.support.diagnosis import Bench
from tests.support.terminal import run_on_terminal

HOUR, DAY = 3600, 86400
ARCHIVE = """[archive]
bus = "fedora"
url = "{}"
contact = "me@example.com"
"""


def configured(directory: Path, archive: str) -> Busmon:
    """Return a busmon whose broker is down."""
    bus = {"type": "mqtt", "rules": "all", "url": f"mqtt://127.0.0.1:{free_port()}"}
    found = Busmon(directory, {"fedora": bus | {"topics": ["#"], "client_id": "busmon"}})
    found.configure(ARCHIVE.format(archive))
    return found


def evidence(service: Busmon, kind: str) -> list[str]:
    """Return the evidence of the verdict; nothing if it is of another kind."""
    found: dict[str, Any] = json.loads(service.ask("/v1/status")[1][0])["buses"]["fedora"]
    return list(found["evidence"]) if found["kind"] == kind else []


def metrics(service: Busmon) -> list[str]:
    return service.ask("/metrics")[1]


def test_busmon_learns_what_is_usual_within_seconds(
    datagrepper: Datagrepper, tmp_path: Path
) -> None:
    topic, now = f"org.example.{uuid4()}", time.time()
    ages = [30, *range(HOUR, 5 * 7 * 24 * HOUR, 3 * HOUR)]
    datagrepper.add(Sent(str(uuid4()), topic, now - age) for age in ages)
    service = configured(tmp_path, datagrepper.url)
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    ledger.record([Observation(Series("fedora", topic, "handled", ""), "1", now)])
    ledger.close()
    config = str(service.configuration)

    status, shown = run_on_terminal("-m", "busmon", "learn", "-c", config, "--weeks", "4")
    assert (status, "Learning" in shown, "100%" in shown) == (0, True, True), shown
    with service:
        ready = f'busmon_topic_baseline_ready{{bus="fedora",topic="{topic}"}} 1.0'
        wait_until(lambda: ready in metrics(service))
        ratio = re.compile(
            r'^busmon_archive_learned_ratio\{bus="fedora"\} (0\.[5-9].*|1\.0)$', re.M
        )
        wait_until(lambda: ratio.search("\n".join(metrics(service))))
        said = busmon("learn", "-c", config).stdout
        assert re.fullmatch(r"the service learns, and has learned \d+%\n", said)
        wait_until(
            lambda: 'busmon_observer_up{bus="fedora",observer="archive"} 1.0' in metrics(service)
        )


def test_an_archive_that_does_not_answer_disturbs_nothing(tmp_path: Path) -> None:
    with configured(tmp_path, f"http://127.0.0.1:{free_port()}") as service:
        wait_until(lambda: "no answer: Connection refused" in service.output())
        text = metrics(service)
        assert 'busmon_observer_up{bus="fedora",observer="archive"} 0.0' in text
        assert 'busmon_archive_learned_ratio{bus="fedora"} 0.0' in text


def test_an_archive_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    asked, leaving = Event(), Event()

    def hang(_: BaseHTTPRequestHandler) -> None:
        asked.set()
        leaving.wait(30)

    with answering(hang) as url, configured(tmp_path, url) as service:
        assert asked.wait(30)
        assert service.terminate() == 0
        leaving.set()
        # On a machine that stands still, that can be said of other threads.
        assert not re.search(r"left behind: .*\barchive\b", service.output())


def test_busmon_learn_needs_an_archive_and_a_ledger_on_disk(tmp_path: Path) -> None:
    service = configured(tmp_path, "http://127.0.0.1")
    ended = busmon("learn", "-c", service.configuration, "--ledger", ":memory:", status=2)
    assert "ledger.path: is in memory" in ended.stderr
    text = service.configuration.read_text().partition("[archive]")[0]
    service.configuration.write_text(text)
    assert "archive: is missing" in busmon("learn", "-c", service.configuration, status=2).stderr


def test_a_removed_binding_is_distinguished_from_a_stopped_publisher(
    datagrepper: Datagrepper, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """The archive has a queue of its own on the same bus, with all bindings."""
    names = ("unbound", "stopped", "flowing")
    unbound, stopped, flowing = topics = [f"org.example.{name}.{uuid4()}" for name in names]
    now = time.time()
    bench = Bench(now=now, path=str(tmp_path / "ledger.sqlite"))
    for topic, age in ((unbound, 2 * DAY), (stopped, 2 * DAY), (flowing, 60)):
        bench.past(topic, age)
    queue = bench.ledger.own_queue("fedora")
    bench.ledger.close()
    toml = rabbitmq.fedora_toml(tmp_path / "fedora.toml", tls=False, bindings=topics)
    service = Busmon(tmp_path, {"fedora": {"type": "amqp", "rules": "all", "config": str(toml)}})
    of_archive = str(uuid4())
    rabbitmq.declare_queue(of_archive, topics)

    def publish(topic: str, *ages: float) -> None:
        times = (datetime.fromtimestamp(int(now - age), UTC).isoformat() for age in ages)
        rabbitmq.publish(Publication(topic=topic, headers={"sent-at": at}) for at in times)

    with service:
        service.wait_until_ready()
        rabbitmq.unbind(queue, unbound)
        publish(unbound, *(HOUR * n for n in (1, 2, 3)))
        publish(flowing, *(HOUR * n / 2 for n in range(160)))
        series = ("fedora", flowing, "handled", "")
        wait_until(lambda: service.counts()[series] == 161)
        assert service.counts()["fedora", unbound, "handled", ""] == 1
        datagrepper.add(
            Sent(str(one.message_id), one.topic, datetime.fromisoformat(sent_at).timestamp())
            for one in rabbitmq.drain(of_archive)
            for sent_at in (one.headers["sent-at"],)
        )
        assert service.terminate() == 0
        service.configure(ARCHIVE.format(datagrepper.url))
        service.start()
        confirmed = (
            "also (publisher): confirmed by the archive, which has received nothing more either:"
            f" {stopped}"
        )
        wait_until(lambda: confirmed in evidence(service, "connection"), 60)
        first, *_ = evidence(service, "connection")
    assert first.startswith(f"the archive has 3 messages of {unbound} since "), first
