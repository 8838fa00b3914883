"""Who is woken up: a real broker, busmon, Prometheus and Alertmanager, with our configuration.

The tests change only intervals and addresses.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
import yaml

from tests.support.brokers import Server, accepts, free_port, wait_until
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.prometheus import Prometheus

CONFIG = Path(__file__).parents[2] / "config"
STOPS, FLOWS = "pages.stops", "pages.flows"  # topics


class Receiver(ThreadingHTTPServer):
    """Receives Alertmanager's notifications; the path of each is the name of its receiver."""

    daemon_threads = True

    def __init__(self) -> None:
        self.notifications: list[tuple[str, dict[str, Any]]] = []
        super().__init__(("127.0.0.1", 0), _PageHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def pages(self) -> list[tuple[str, str]]:
        """Return the status and the alert name of each page, in the order of arrival."""
        return [
            (body["status"], body["commonLabels"]["alertname"])
            for path, body in self.notifications
            if path == "/pager"
        ]

    def page(self, name: str) -> list[dict[str, str]]:
        """Return the labels and annotations of the alerts in the first page of this name."""
        return next(
            [alert["labels"] | alert["annotations"] for alert in body["alerts"]]
            for path, body in self.notifications
            if path == "/pager" and body["commonLabels"]["alertname"] == name
        )


class _PageHandler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Receiver)
        self.server.notifications.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


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


def alertmanager(directory: Path, receiver: Receiver) -> tuple[Server, int]:
    config = yaml.safe_load((CONFIG / "alertmanager/alertmanager.yml").read_text())
    for of in config["receivers"]:
        of["webhook_configs"][0]["url"] = f"{receiver.url}/{of['name']}"
    (route,) = config["route"]["routes"]
    route |= {"group_wait": "3s", "group_interval": "1s"}
    path = directory / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    port = free_port()
    argv = [
        next(
            program
            for program in ("/usr/bin/prometheus-alertmanager", "/usr/bin/alertmanager")
            if Path(program).exists()
        ),
        f"--config.file={path}",
        f"--storage.path={directory}/alertmanager",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    log = directory / "alertmanager.log"
    return Server(argv, log, ready=lambda _: accepts(port)), port


def prometheus(directory: Path, busmon: Busmon, alerts: int) -> Prometheus:
    config = yaml.safe_load((CONFIG / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(CONFIG / "prometheus/rules/*.yml")]
    config["alerting"]["alertmanagers"][0]["static_configs"] = [
        {"targets": [f"127.0.0.1:{alerts}"]}
    ]
    (job,) = (job for job in config["scrape_configs"] if job["job_name"] == "busmon")
    job["static_configs"] = [{"targets": [f"127.0.0.1:{busmon.port}"]}]
    config["scrape_configs"] = [job]
    # What came before Alertmanager was found is lost.
    return Prometheus(directory, config, "--rules.alert.resend-delay=5s")


# Of each cause's alerts, only the first must send a notification.
CAUSES = {
    "busmon down": [
        {"alertname": "BusmonDown"},
        {"alertname": "BusmonBusDisconnected", "bus": "fedora"},
        {"alertname": "BusmonTopicSilent", "bus": "fedora", "topic": "copr"},
        {"alertname": "BusmonListenerDown", "bus": "fedora"},
        {"alertname": "BusmonQueueGrowing", "queue": "short-running"},
        {"alertname": "BusmonLedgerNearlyFull", "severity": "warning"},
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
    ],
    "the listener is down": [
        {"alertname": "BusmonListenerDown", "bus": "fedora"},
        {"alertname": "BusmonListenerMissingMessages", "bus": "fedora", "stage": "listener"},
        {"alertname": "BusmonWorkerMissingMessages", "bus": "fedora", "stage": "worker"},
        {"alertname": "BusmonNoAuditData", "bus": "fedora", "severity": "warning"},
    ],
    "no tap was ever heard of": [
        {"alertname": "BusmonTapNeverHeard", "bus": "fedora", "severity": "warning"},
        {
            "alertname": "BusmonNoAuditData",
            "bus": "fedora",
            "stage": "listener",
            "severity": "warning",
        },
    ],
    "the workers are down": [
        {"alertname": "BusmonWorkerMissingMessages", "bus": "fedora", "stage": "worker"},
        {"alertname": "BusmonQueueGrowing", "queue": "short-running"},
        {"alertname": "BusmonQueueStuck", "queue": "short-running"},
    ],
    "the workers are slow": [
        {"alertname": "BusmonQueueGrowing", "queue": "short-running"},
        {"alertname": "BusmonWorkerMissingMessages", "bus": "fedora", "severity": "warning"},
    ],
    "the listener loses much": [
        {"alertname": "BusmonListenerMissingMessages", "bus": "fedora", "stage": "listener"},
        {"alertname": "BusmonListenerMissingMessages", "bus": "fedora", "severity": "warning"},
    ],
}
UNTOUCHED = [  # nothing suppresses these
    {"alertname": "Watchdog", "severity": "none"},
    {"alertname": "BusmonTopicSilent", "bus": "fedora", "topic": "copr", "namespace": "another"},
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
        with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=5):
            pass
        wait_until(lambda: len(receiver.notifications) >= len(expected), 30, "notifications")
        with urlopen(url, timeout=5) as answer:
            known = json.load(answer)
    active = [alert["labels"] for alert in known if alert["status"]["state"] == "active"]
    assert len(known) == len(alerts)
    assert sorted(map(str, map(sorted, map(dict.items, active)))) == sorted(
        map(str, map(sorted, map(dict.items, expected)))
    )


def bus(config: Path) -> dict[str, Any]:
    return {"type": "amqp", "rules": "all", "config": config, "queue": str(uuid4())}


@pytest.mark.timeout(240)  # our alerts wait for a minute before they wake anybody up
def test_a_lost_bus_and_a_stopped_publisher_give_one_page_each(
    tmp_path: Path, rabbitmq: RabbitMQ, receiver: Receiver
) -> None:
    """And each page is resolved when its cause is gone."""
    keys = ["pages.#"]
    with Proxy(rabbitmq.amqps_port) as proxy:
        far = rabbitmq.fedora_toml(tmp_path / "far.toml", bindings=keys, port=proxy.port)
        near = rabbitmq.fedora_toml(tmp_path / "near.toml", bindings=keys)
        buses = {"far": bus(far), "near": bus(near)}
        busmon = Busmon(tmp_path, buses)
        busmon.configure(f'[silence]\nmax_silence = {{ "{STOPS}" = "10s" }}')
        alerts, port = alertmanager(tmp_path, receiver)
        with busmon, alerts, prometheus(tmp_path, busmon, port), Publisher(rabbitmq) as publisher:
            busmon.wait_until_ready()
            wait_until(lambda: receiver.notifications, 30, "the watchdog")
            wait_until(
                lambda: (
                    {series[:2] for series in busmon.counts()}
                    >= {(name, topic) for name in buses for topic in (STOPS, FLOWS)}
                ),
                30,
                "all topics to be counted",
            )

            publisher.topics = {FLOWS}
            proxy.swallow()
            proxy.cut()
            wait_until(lambda: len(receiver.pages()) >= 2, 120, "two pages")
            (cut,) = receiver.page("BusmonBusDisconnected")
            assert "not connected to the bus far" in cut["summary"]
            (silent,) = receiver.page("BusmonTopicSilent")
            assert (silent["bus"], silent["topic"]) == ("near", STOPS)
            assert f"No message of {STOPS} has arrived" in silent["summary"]

            publisher.topics = {FLOWS, STOPS}
            proxy.heal()
            wait_until(lambda: len(receiver.pages()) >= 4, 60, "the pages to be resolved")
    for settings in buses.values():
        rabbitmq.delete_queue(settings["queue"])
    assert {path for path, _ in receiver.notifications} == {"/pager", "/heartbeat"}
    assert sorted(receiver.pages()) == [
        ("firing", "BusmonBusDisconnected"),
        ("firing", "BusmonTopicSilent"),
        ("resolved", "BusmonBusDisconnected"),
        ("resolved", "BusmonTopicSilent"),
    ]
