"""Prometheus, Alertmanager and who is notified, with our configuration in haste.

Only intervals and addresses differ from ours.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.support.brokers import Server, accepts, free_port
from tests.support.prometheus import Prometheus

CONFIG = Path(__file__).parents[2] / "config"


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


class _PageHandler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Receiver)
        self.server.notifications.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver of notifications."""
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


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


def prometheus(directory: Path, port: int, alerts: int, token: str = "") -> Prometheus:
    """Return a Prometheus with our rules that scrapes this port every second."""
    config = yaml.safe_load((CONFIG / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(_hasty_rules(directory))]
    config["alerting"]["alertmanagers"][0]["static_configs"] = [
        {"targets": [f"127.0.0.1:{alerts}"]}
    ]
    (job,) = (job for job in config["scrape_configs"] if job["job_name"] == "busmon")
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    if token:
        job["authorization"] = {"credentials": token}
    config["scrape_configs"] = [job]
    # What came before Alertmanager was found is lost.
    return Prometheus(directory, config, "--rules.alert.resend-delay=5s")


def _hasty_rules(directory: Path) -> str:
    """Copy our rules, with a third of each `for`; return the pattern of the copies' names."""
    folder = directory / "rules"
    folder.mkdir()
    for path in (CONFIG / "prometheus/rules").glob("*.yml"):
        text = re.sub(
            r"(?m)^( +for: )(\d+)m$", lambda of: f"{of[1]}{20 * int(of[2])}s", path.read_text()
        )
        (folder / path.name).write_text(text)
    return f"{folder}/*.yml"
