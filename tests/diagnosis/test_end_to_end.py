"""The verdict of a busmon process beside real brokers."""

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client

from busmon.diagnosis.verdict import FaultKind
from busmon.ledger.batch import Series
from busmon.ledger.ledger import Ledger
from busmon.message import Outcome
from busmon.silence.rates import WEEK_HOURS
from tests.ledger.past import past
from tests.support.brokers import wait_until
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.busmon_process import Busmon
from tests.support.celery_worker import CeleryWorker
from tests.support.command import busmon as command
from tests.support.monitored_listener import MonitoredListener
from tests.support.tap_reports import TOKEN
from tests.support.tapped_listener import TappedListener

DAY = 86400.0


def verdict(busmon: Busmon) -> FaultKind:
    return FaultKind(status(busmon)["kind"])


def status(busmon: Busmon) -> dict[str, Any]:
    """Return what /v1/status says of the one bus."""
    _, [line] = busmon.ask("/v1/status")
    found: dict[str, Any] = json.loads(line)["buses"]["fedora"]
    return found


def wait_for(busmon: Busmon, kind: FaultKind) -> Sequence[str]:
    """Wait for this verdict, see that the metric says the same, and return the evidence."""
    wait_until(lambda: verdict(busmon) is kind, what=f"{kind}")
    line = f'busmon_verdict{{bus="fedora",kind="{kind}"}} 1.0'
    assert line in busmon.ask("/metrics?name[]=busmon_verdict")[1]
    evidence: list[str] = status(busmon)["evidence"]
    return evidence


def incidents(directory: Path) -> list[dict[str, Any]]:
    """Return what is in the ledger, while busmon writes it."""
    listed = command("incidents", "-c", directory / "busmon.toml", "--format", "json").stdout
    found: list[dict[str, Any]] = json.loads(listed)["incidents"]
    return found


def test_a_connection_that_swallows_everything_is_detected_and_remembered(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    with Proxy(rabbitmq.amqp_port) as proxy:
        toml = rabbitmq.fedora_toml(tmp_path / "fedora.toml", tls=False, port=proxy.port)
        bus = {"type": "amqp", "rules": "packit", "config": str(toml), "heartbeat": "1s"}
        with Busmon(tmp_path, {"fedora": bus}) as busmon:
            wait_for(busmon, FaultKind.NONE)
            proxy.swallow()
            [line] = wait_for(busmon, FaultKind.CONNECTION)
            assert line.startswith("the connection is down: ")
            [incident] = wait_until(lambda: incidents(tmp_path), what="it on disk")
            assert (incident["kind"], incident["ended"]) == ("connection", None)
            busmon.kill()
            busmon.start()
            wait_for(busmon, FaultKind.CONNECTION)
            assert status(busmon)["since"] == pytest.approx(incident["began"], abs=0.001)
            proxy.heal()
            wait_for(busmon, FaultKind.NONE)
            assert [one["began"] for one in incidents(tmp_path)] == [incident["began"]]


def test_a_listener_that_is_killed_or_loses_its_queue_is_detected(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    listener = MonitoredListener(tmp_path, rabbitmq)
    toml = rabbitmq.fedora_toml(tmp_path / "fedora.toml", tls=False, bindings=[listener.key])
    bus = {"type": "amqp", "rules": "all", "config": str(toml)}
    busmon = Busmon(tmp_path, {"fedora": bus})
    busmon.configure(f'[audit.ready]\nbus = "fedora"\nurl = "{listener.url}"\ninterval = "1s"')
    with listener, busmon:
        evidence = wait_until(
            lambda: any(
                "the listener consumes" in line for line in wait_for(busmon, FaultKind.NONE)
            ),
            what="the listener to be seen",
        )
        assert evidence
        listener.kill()
        [line, *_] = wait_for(busmon, FaultKind.LISTENER)
        assert "the listener is down or does not consume, according to its monitor" in line
        listener.start()
        wait_for(busmon, FaultKind.NONE)
        rabbitmq.ctl("delete_queue", "-p", "/public_pubsub", listener.queue)
        wait_for(busmon, FaultKind.LISTENER)


def test_a_stopped_publisher_is_distinguished_from_a_stopped_bus(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    now = time.time()
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    hours = range(int(now // 3600) - 10 * WEEK_HOURS, int(now // 3600) + 1)
    for topic, last in [("stopped", now - 2 * DAY), ("flowing", now - 30)]:
        counts = {hour: 60 for hour in hours if hour <= last // 3600}
        past(ledger, Series("fedora", topic, Outcome.HANDLED, ""), counts, last)
    ledger.close()
    toml = rabbitmq.fedora_toml(tmp_path / "fedora.toml", tls=False)
    bus = {"type": "amqp", "rules": "all", "config": str(toml)}
    with Busmon(tmp_path, {"fedora": bus}) as busmon:
        first, others, *_ = wait_for(busmon, FaultKind.PUBLISHER)
        assert first.startswith("stopped has been silent for 2 d: ")
        assert others.startswith("1 other topic as usual; the newest message came ")
        printed = command("status", "-c", tmp_path / "busmon.toml", status=1).stdout
        assert re.match(r"fedora: publisher, since 20.* UTC\n  stopped has been", printed)


AUDIT = """
[audit]
window = "3s"
grace = "1s"
[audit.reports]
bus = "fedora"
token = "{token}"
[audit.celery]
bus = "fedora"
broker = "{broker}"
interval = "1s"
"""


def test_a_killed_worker_is_detected_by_its_unfinished_tasks(
    tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis
) -> None:
    listener = TappedListener(tmp_path / "listener", rabbitmq, redis)
    worker = CeleryWorker(tmp_path, redis, "-E")
    toml = rabbitmq.fedora_toml(tmp_path / "fedora.toml", tls=False, bindings=[listener.key])
    busmon = Busmon(tmp_path, {"fedora": {"type": "amqp", "rules": "all", "config": str(toml)}})
    busmon.configure(AUDIT.format(token=TOKEN, broker=redis.url))
    listener.tap(f"{busmon.url}/v1/reports")

    def passed() -> bool:
        """Publish one message more, and return whether the audit knows that all were finished."""
        listener.publish("pass")
        return any("the workers keep up" in line for line in wait_for(busmon, FaultKind.NONE))

    try:
        with busmon, listener, worker:
            wait_until(passed, what="a window of which all was seen")
            worker.kill()
            listener.publish("pass", "pass")
            evidence = wait_for(busmon, FaultKind.WORKERS)
            assert evidence[0].startswith("the workers did not finish ")
    finally:
        listener.close()
        with Client.from_url(redis.url) as client:
            client.flushdb()
