"""Packit's listener with the tap, and its workers, as far as others can see them."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.request import Request, urlopen

from prometheus_client import CollectorRegistry, generate_latest, push_to_gateway
from prometheus_client import Counter as Counted

from tests.deploy.simulation.story import Fate, Made, uuids
from tests.support.celery_worker import HANDLER, PROCESS_MESSAGE, make_app
from tests.support.http_server import Silent, serving

TOKEN = "t0ken-of-the-tap"
HOSTS = ("packit-worker-short-running-0", "packit-worker-short-running-1")
REPORT_SECONDS = 10.0  # as the tap
STATES = {"handled": "passed", "ignored": "dropped", "unmapped": "dropped", "error": "raised"}


class Listener:
    """Receives messages, reports them by its tap, and counts them in its monitor."""

    def __init__(self, busmon: str) -> None:
        self._url = f"{busmon}/v1/reports"
        self._reports: list[dict[str, Any]] = []
        self._batches = 0
        self.counts = Counter(
            dict.fromkeys(("received", "processed", "dropped", "rejected", "failed"), 0)
        )

    def receive(self, message: Made, task: str) -> None:
        """Do what the rules say; `task` is the id of its task, if it is handled."""
        if message.outcome == "invalid":
            self.counts["rejected"] += 1
            return
        state = STATES[message.outcome]
        self.counts.update(("received", {"raised": "failed"}.get(state, "processed")))
        report = {"id": message.id, "topic": message.topic, "state": state}
        self._reports.append(report | ({"task": task} if state == "passed" else {}))

    def report(self) -> None:
        """Send what happened in the last seconds, also if nothing did."""
        self._batches += 1
        batch = {"tap": "the tap", "seq": self._batches, "bus": "fedora", "lost": 0}
        batch |= {"since": REPORT_SECONDS, "until": 0.0, "reports": self._reports}
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        with urlopen(Request(self._url, json.dumps(batch).encode(), headers), timeout=10) as answer:
            answer.read()
        self._reports = []

    @contextmanager
    def monitor(self) -> Iterator[str]:
        """Serve what fedora-messaging's monitor says at /ready; yield the URL."""
        counts = self.counts

        class MonitorHandler(Silent, BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps({"consuming": True, "consumed": counts}).encode())

        with serving(MonitorHandler) as url:
            yield f"{url}/ready"


class Workers:
    """Send the events that Celery's workers send, and push as packit-service's do."""

    def __init__(self, broker: str, gateway: str) -> None:
        app = make_app(broker)
        self._connection = app.connection_for_write()
        self._senders = [
            app.events.Dispatcher(self._connection, hostname=f"celery@{host}") for host in HOSTS
        ]
        self._gateway = gateway
        self._registry = CollectorRegistry()
        self._processed = Counted("events_processed", "By Packit", registry=self._registry)
        self._ids = uuids(3)
        self._running: list[tuple[Any, str, str, str]] = []  # sender, task, name, how it ends
        self._done: Counter[str] = Counter()  # tasks, by worker
        self.received = 0  # tasks of PROCESS_MESSAGE
        self.events = 0  # of tasks

    def close(self) -> None:
        """Disconnect."""
        self._connection.release()

    def live(self) -> None:
        """Send the heartbeats, and the ends of the tasks that run."""
        for sender in self._senders:
            done = self._done[sender.hostname]
            sender.send("worker-heartbeat", freq=2.0, processed=done, active=0)
        for sender, task, name, end in self._running:
            self._send(sender, end, task, name, runtime=0.5)
        self._running = []

    def work(self, task: str, do: Fate) -> None:
        """Process a message or a webhook, and run its handler."""
        sender = self._senders[self.received % 2]
        self.received += 1
        self._begin(sender, task, PROCESS_MESSAGE, task, "task-succeeded")
        handler, end = next(self._ids), "task-failed" if do.failed else "task-succeeded"
        self._begin(sender, handler, HANDLER, task, end)
        self._processed.inc()
        push_to_gateway(self._gateway, job=HOSTS[0], registry=self._registry)
        self._processed.reset()  # as packit-service does: the gateway adds up

    def _begin(self, sender: Any, task: str, name: str, root: str, end: str) -> None:
        self._send(sender, "task-received", task, name, root_id=root)
        self._send(sender, "task-started", task, name)
        self._running.append((sender, task, name, end))
        self._done[sender.hostname] += 1

    def _send(self, sender: Any, kind: str, task: str, name: str, **fields: object) -> None:
        if kind == "task-received":
            fields |= {"name": name}
        sender.send(kind, uuid=task, **fields)
        self.events += 1


class Webhooks:
    """What packit-service counts of GitHub's calls."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.calls = Counted(
            "github_webhook_calls", "Calls of GitHub", ["result"], registry=self._registry
        )

    def metrics(self) -> str:
        """Return what it serves."""
        return generate_latest(self._registry).decode()
