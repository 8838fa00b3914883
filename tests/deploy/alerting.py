"""Prometheus, Alertmanager and who is notified, with our configuration in haste.

Only durations and addresses differ from ours.
"""

import json
import shutil
import time
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.haste import FACTOR, hasten, hasty_rules
from tests.support.brokers import Server, accepts, free_port
from tests.support.http_server import HttpServer, Silent, running
from tests.support.prometheus import Prometheus

CONFIG = Path(__file__).parents[2] / "config"
LOOKBACK = 300  # seconds: Prometheus's default


class Receiver(HttpServer):
    """Receives Alertmanager's notifications; the path of each is the name of its receiver."""

    daemon_threads = True

    def __init__(self) -> None:
        self.notifications: list[tuple[str, dict[str, Any]]] = []
        self.times: list[float] = []  # when they came
        super().__init__(("127.0.0.1", 0), _PageHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def pages(self, namespace: str = "", by: str = "pager") -> list[tuple[str, str]]:
        """Return the status and the alert name of each page, in the order of arrival.

        As with a pager, what is added to a group that fires is no new page: it has the same key.
        """
        pages: list[tuple[str, str]] = []
        status: dict[str, str] = {}
        for path, body in self.notifications:
            key, labels = body["groupKey"], body["groupLabels"]
            if path != f"/{by}" or labels.get("namespace", "") != namespace:
                continue
            if status.get(key) != body["status"]:
                status[key] = body["status"]
                pages.append((body["status"], labels["alertname"]))
        return pages

    def chats(self, name: str) -> list[tuple[str, str]]:
        """Return the status and the summary of each message of this alert in the chat."""
        return [
            (body["status"], body["commonAnnotations"]["summary"])
            for path, body in self.notifications
            if path == "/chat" and body["commonLabels"]["alertname"] == name
        ]

    def page(self, name: str) -> list[dict[str, str]]:
        """Return the labels and annotations of the alerts in the first page of this name."""
        return next(
            [alert["labels"] | alert["annotations"] for alert in body["alerts"]]
            for path, body in self.notifications
            if path == "/pager" and body["commonLabels"]["alertname"] == name
        )


class _PageHandler(Silent, BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Receiver)
        self.server.times.append(time.time())
        self.server.notifications.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()


def receiving() -> AbstractContextManager[Receiver]:
    """Run a receiver of notifications."""
    return running(Receiver())


def alertmanager(directory: Path, receiver: Receiver, heartbeat: str = "") -> tuple[Server, int]:
    """Return an Alertmanager with our routes in haste, and its port.

    `heartbeat` is the URL of a heartbeat service, else the receiver gets the Watchdog, too.
    """
    text = (CONFIG / "alertmanager/alertmanager.yml").read_text()
    config = yaml.safe_load(hasten(text))
    for of in config["receivers"]:
        outside = heartbeat if of["name"] == "heartbeat" else ""
        for webhook in of.get("webhook_configs", ()):
            webhook["url"] = outside or f"{receiver.url}/{of['name']}"
    path = directory / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    port = free_port()
    argv = [
        shutil.which("prometheus-alertmanager") or "alertmanager",
        f"--config.file={path}",
        f"--storage.path={directory}/alertmanager",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    log = directory / "alertmanager.log"
    return Server(argv, log, ready=lambda _: accepts(port)), port


def prometheus(
    directory: Path, jobs: list[dict[str, Any]], alerts: int, haste: int = FACTOR
) -> Prometheus:
    """Return a Prometheus with our rules in haste, and these jobs.

    A real busmon takes seconds to notice something, so it needs less haste.
    """
    config = yaml.safe_load((CONFIG / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "500ms"}
    config["rule_files"] = [hasty_rules(CONFIG / "prometheus/rules", directory / "rules", haste)]
    config["alerting"]["alertmanagers"][0]["static_configs"] = [
        {"targets": [f"127.0.0.1:{alerts}"]}
    ]
    config["scrape_configs"] = jobs
    # What came before Alertmanager was found is lost. A busy machine ends no alert.
    lookback = f"--query.lookback-delta={LOOKBACK / haste:g}s"
    options = ("--rules.alert.resend-delay=2s", lookback)
    return Prometheus(directory, config, *options)


def busmon_job(port: int, token: str = "") -> dict[str, Any]:
    """Return the job of the example, for a busmon at this port."""
    config = yaml.safe_load((CONFIG / "prometheus/prometheus.yml").read_text())
    (job,) = (job for job in config["scrape_configs"] if job["job_name"] == "busmon")
    login = {"authorization": {"credentials": token}} if token else {}
    return {**job, **login, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
