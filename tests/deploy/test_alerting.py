"""Who is woken up: a real broker, busmon, Prometheus and Alertmanager, with our configuration."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

from busmon.message import Stage
from tests.deploy.alerting import Receiver, alertmanager, busmon_job, prometheus, receiving
from tests.support.brokers import wait_until
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.busmon_process import Busmon

PREFIX = "org.fedoraproject.prod."
STOPS, FLOWS = f"{PREFIX}copr.build.end", f"{PREFIX}buildsys.tag"  # topics


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


class Publisher:
    """Publishes a message of each of `topics` every half second."""

    def __init__(self, broker: RabbitMQ) -> None:
        self.topics = {STOPS, FLOWS}
        self._broker = broker
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._ending.wait(0.5):
            self._broker.publish(Publication(topic=topic) for topic in sorted(self.topics))

    def __enter__(self) -> "Publisher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()


# Of each cause's alerts, only the first must send a notification.
CAUSES = {
    "busmon down": [
        {"alertname": "BusmonDown"},
        {"alertname": "BusmonBusDisconnected", "bus": "fedora"},
        {"alertname": "BusmonTopicSilent", "bus": "fedora", "topic": "copr"},
        {"alertname": "BusmonListenerDown", "bus": "fedora"},
        {"alertname": "BusmonQueueStuck", "queue": "short-running"},
        {"alertname": "BusmonLedgerNearlyFull", "severity": "warning"},
    ],
    "busmon crashes after each start": [
        {"alertname": "BusmonRestarting"},
        {"alertname": "BusmonDown"},
        {"alertname": "BusmonBlind", "bus": "fedora"},
    ],
    "the disk is full": [
        {"alertname": "BusmonBlind"},
        {"alertname": "BusmonBusDisconnected", "bus": "fedora"},
        {"alertname": "BusmonTopicSilent", "bus": "centos", "topic": "git.receive"},
    ],
    "the bus is cut": [
        {"alertname": "BusmonBusDisconnected", "bus": "fedora"},
        {"alertname": "BusmonBlind", "bus": "fedora"},
        {"alertname": "BusmonAllTopicsSilent", "bus": "fedora"},
        {"alertname": "BusmonTopicSilent", "bus": "fedora", "topic": "copr"},
        {"alertname": "BusmonListenerDown", "bus": "fedora"},
        {"alertname": "BusmonDeliveryDelayHigh", "bus": "fedora", "severity": "warning"},
    ],
    "the connection comes and goes": [
        {"alertname": "BusmonBlind", "bus": "fedora"},
        {"alertname": "BusmonTopicSilent", "bus": "fedora", "topic": "copr"},
        {"alertname": "BusmonDuplicatesHigh", "bus": "fedora", "severity": "warning"},
    ],
    "the bus is silent": [
        {"alertname": "BusmonAllTopicsSilent", "bus": "fedora"},
        {"alertname": "BusmonTopicSilent", "bus": "fedora", "topic": "copr"},
        {"alertname": "BusmonTopicSilent", "bus": "fedora", "topic": "koji"},
        {"alertname": "BusmonTopicsSilent", "bus": "fedora"},
        {"alertname": "BusmonTopicLow", "bus": "fedora", "topic": "git", "severity": "warning"},
    ],
    "the listener is down": [
        {"alertname": "BusmonListenerDown", "bus": "fedora"},
        {"alertname": "BusmonListenerGap", "bus": "fedora", "stage": "listener"},
        {"alertname": "BusmonNoAuditData", "bus": "fedora", "severity": "warning"},
        {"alertname": "BusmonEventsNotProcessed"},
        {"alertname": "BusmonServiceLevelFailing", "bus": "fedora", "slo": "copr"},
    ],
    "the listener crashes after each start": [
        {"alertname": "BusmonListenerRestarting", "bus": "fedora"},
        {"alertname": "BusmonListenerDown", "bus": "fedora"},
        {"alertname": "BusmonListenerGap", "bus": "fedora", "stage": "listener"},
    ],
    "a service level fails": [
        {"alertname": "BusmonServiceLevelFailing", "bus": "fedora", "slo": "copr"},
        {
            "alertname": "BusmonServiceLevelAtRisk",
            "bus": "fedora",
            "slo": "copr",
            "severity": "warning",
        },
    ],
    "no tap was ever heard of": [
        {"alertname": "BusmonTapNeverHeard", "bus": "fedora", "severity": "warning"},
        *(
            {
                "alertname": "BusmonNoAuditData",
                "bus": "fedora",
                "stage": stage,
                "severity": "warning",
            }
            for stage in Stage
            if stage is not Stage.BUS
        ),
    ],
    "a publisher is silent": [{"alertname": "BusmonTopicSilent", "bus": "fedora", "topic": "copr"}],
    "the listener is stalled": [
        {"alertname": "BusmonListenerStalled", "bus": "fedora"},
        {"alertname": "BusmonListenerGap", "bus": "fedora", "stage": "listener"},
    ],
    "the workers are down": [
        {"alertname": "BusmonQueueStuck", "queue": "short-running"},
        {"alertname": "BusmonQueueGrowing", "queue": "short-running", "severity": "warning"},
        {"alertname": "BusmonWorkerGap", "bus": "fedora", "severity": "warning"},
        {"alertname": "BusmonHandlersGap", "bus": "fedora", "severity": "warning"},
        {"alertname": "BusmonEventsNotProcessed"},
    ],
    "tasks are lost": [
        {"alertname": "BusmonWorkerGap", "bus": "fedora", "stage": "worker"},
        {"alertname": "BusmonHandlersGap", "bus": "fedora", "stage": "handlers"},
        {"alertname": "BusmonQueueGrowing", "queue": "short-running", "severity": "warning"},
    ],
    "a handler fails each time": [
        {"alertname": "BusmonTasksFailing", "task": "task.run_copr_build_end_handler"},
        {"alertname": "BusmonHandlersGap", "bus": "fedora", "stage": "handlers"},
    ],
    "the listener loses much": [
        {"alertname": "BusmonListenerGap", "bus": "fedora", "stage": "listener"},
        {"alertname": "BusmonListenerGap", "bus": "fedora", "severity": "warning"},
    ],
}
# Nothing suppresses these: another cause does not explain them.
UNTOUCHED = [
    {"alertname": "Watchdog", "severity": "none"},
    {"alertname": "BusmonTopicSilent", "bus": "fedora", "topic": "copr", "namespace": "another"},
    {"alertname": "BusmonQueueStuck", "queue": "long-running", "namespace": "the disk is full"},
    *(
        {"alertname": name, "bus": "centos", "namespace": "the listener is down"}
        for name in ("BusmonListenerGap", "BusmonServiceLevelFailing")
    ),
    {"alertname": "BusmonBusDisconnected", "bus": "centos", "namespace": "the listener is stalled"},
    {"alertname": "BusmonWorkerGap", "bus": "fedora", "namespace": "the listener is down"},
    {"alertname": "BusmonQueueStuck", "queue": "long-running", "namespace": "tasks are lost"},
    {
        "alertname": "BusmonTopicSilent",
        "bus": "fedora",
        "topic": "git",
        "severity": "warning",
        "namespace": "a publisher is silent",
    },
]


def test_one_cause_suppresses_its_effects_and_nothing_else(
    tmp_path: Path, receiver: Receiver
) -> None:
    server, port = alertmanager(tmp_path, receiver)
    url = f"http://127.0.0.1:{port}/api/v2/alerts"
    alerts = [
        {"service": "busmon", "severity": "critical", "namespace": cause} | labels
        for cause, effects in CAUSES.items()
        for labels in effects
    ] + [{"service": "busmon", "severity": "critical"} | labels for labels in UNTOUCHED]
    body = json.dumps([{"labels": labels} for labels in alerts]).encode()
    expected = [{"service": "busmon", "severity": "critical"} | labels for labels in UNTOUCHED]
    expected += [
        {"service": "busmon", "severity": "critical", "namespace": cause} | effects[0]
        for cause, effects in CAUSES.items()
    ]
    with server:
        with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=30):
            pass
        wait_until(lambda: len(receiver.notifications) >= len(expected), what="notifications")
        with urlopen(url, timeout=30) as answer:
            known = json.load(answer)
    active = [alert["labels"] for alert in known if alert["status"]["state"] == "active"]
    assert len(known) == len(alerts)
    assert sorted(map(str, map(sorted, map(dict.items, active)))) == sorted(
        map(str, map(sorted, map(dict.items, expected)))
    )


def assert_panel_of_bus(url: str, bus: str) -> float:
    """Check that a link leads to a panel of this bus; return the time from which on it shows."""
    parts = urlsplit(url)
    assert parts._replace(query="").geturl() == "https://grafana.example/d/busmon-bus"
    query = {name: value for name, [value] in parse_qs(parts.query).items()}
    assert query["viewPanel"].isdigit()
    assert (query["var-bus"], query["to"]) == (bus, "now")
    return int(query["from"]) / 1000


def day() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def bus(config: Path) -> dict[str, Any]:
    return {"type": "amqp", "rules": "all", "config": config, "queue": str(uuid4())}


def test_a_lost_bus_and_a_stopped_publisher_give_one_page_each(
    tmp_path: Path, rabbitmq: RabbitMQ, receiver: Receiver
) -> None:
    """And the page is resolved when the topic comes again; a connection may be lost again."""
    keys = [f"{PREFIX}#"]
    with Proxy(rabbitmq.amqps_port) as proxy:
        far = rabbitmq.fedora_toml(tmp_path / "far.toml", bindings=keys, port=proxy.port)
        near = rabbitmq.fedora_toml(tmp_path / "near.toml", bindings=keys)
        buses = {"far": bus(far), "near": bus(near)}
        busmon = Busmon(tmp_path, buses)
        busmon.configure(f'[silence]\nmax_silence = {{ "{STOPS}" = "5s" }}')
        urls = {"PUBLIC": "https://busmon.example", "GRAFANA": "https://grafana.example"}
        busmon.put_into_environment(
            **{f"BUSMON__WEB__{name}_URL": url for name, url in urls.items()}
        )
        alerts, port = alertmanager(tmp_path, receiver)
        with (
            busmon,
            alerts,
            prometheus(tmp_path, [busmon_job(busmon.port)], port, haste=12),
            Publisher(rabbitmq) as publisher,
        ):
            busmon.wait_until_ready()
            wait_until(lambda: receiver.notifications, what="the watchdog")
            wait_until(
                lambda: (
                    {series[:2] for series in busmon.counts()}
                    >= {(name, topic) for name in buses for topic in (STOPS, FLOWS)}
                ),
                30,
                "all topics to be counted",
            )

            publisher.topics = {FLOWS}
            days = {day()}
            proxy.swallow()
            proxy.cut()
            wait_until(lambda: len(receiver.pages()) >= 2, 120, "two pages")
            (cut,) = receiver.page("BusmonBusDisconnected")
            assert "not been connected to the bus far" in cut["summary"]
            days.add(day())  # at midnight, another one
            assert any(f"This began at {one} " in cut["description"] for one in days)
            assert cut["page_url"] == "https://busmon.example/"
            start = assert_panel_of_bus(cut["dashboard_url"], "far")
            assert abs(time.time() - 6 * 3600 - start) < 120
            (silent,) = receiver.page("BusmonTopicSilent")
            assert any(f" {one} " in silent["description"] for one in days)
            assert silent["page_url"] == f"https://busmon.example/topics/near/{STOPS}"
            assert_panel_of_bus(silent["dashboard_url"], "near")
            assert (silent["bus"], silent["topic"]) == ("near", STOPS)
            assert f"No message of {STOPS} has arrived" in silent["summary"]

            publisher.topics = {FLOWS, STOPS}
            proxy.heal()
            wait_until(lambda: len(receiver.pages()) >= 3, 60, "the page to be resolved")
    for settings in buses.values():
        rabbitmq.delete_queue(settings["queue"])
    assert {path for path, _ in receiver.notifications} == {"/pager", "/heartbeat"}
    assert sorted(receiver.pages()) == [
        ("firing", "BusmonBusDisconnected"),
        ("firing", "BusmonTopicSilent"),
        ("resolved", "BusmonTopicSilent"),
    ]
