"""Reports as the tap sends them, and what takes them, without a socket."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from busmon.ledger.ledger import Ledger
from busmon.ledger.tap_reports import TapReport
from busmon.observers.base import ObserverMetrics
from busmon.observers.tap import REFUSALS, TapObserver
from busmon.settings.models import Web
from busmon.web.app import make_app
from busmon.web.health import ready_view
from busmon.web.reports import reports_view
from tests.support import web_server
from tests.support.wsgi import ask

TOKEN = "s3cret-of-the-tap"
# For `set_constants`: batches of a process are one interval, however late a busy machine takes one.
LATE = {"busmon.observers.tap:ARRIVAL_JITTER_SECONDS": 60.0}
TOPIC = "org.fedoraproject.prod.copr.build.end"
NOW = 1_790_000_000.0
ID = "4ad5a2c6-5f0b-4f4e-9a55-9d7e0f3f5b0e"


Report = dict[str, str | None]


def report(identity: str = ID, state: str = "passed", task: str | None = None) -> Report:
    return {"id": identity, "topic": TOPIC, "state": state, "task": task}


def batch(*reports: object, **changes: Any) -> dict[str, Any]:
    """Return a batch of a tap that started a second ago."""
    fields = {"tap": "a tap", "seq": 1, "bus": "fedora", "since": 1.0, "until": 0.0, "lost": 0}
    return fields | {"reports": list(reports)} | changes


class Bench:
    """busmon's receiving side without a socket, its two clocks standing at NOW and 0."""

    def __init__(self, path: str = ":memory:") -> None:
        self.now, self.monotonic = NOW, 0.0
        self.ledger = Ledger(path)
        self.tap = TapObserver(self.ledger, "fedora", lambda: self.monotonic)
        view = reports_view(self.tap, TOKEN, lambda: self.now)
        self.app = make_app(
            Web(), CollectorRegistry(), ready_view(list), own={"/v1/reports": view}.get
        )
        self.registry = CollectorRegistry()
        self.registry.register(ObserverMetrics([self.tap]))

    def post(self, content: object, **environ: str | None) -> tuple[int, str]:
        """Post bytes, or JSON of anything else; return the answer's status and text."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        usual: dict[str, Any] = {
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/json",
            "HTTP_AUTHORIZATION": f"Bearer {TOKEN}",
        }
        answer = ask(self.app, "/v1/reports", "POST", body=body, **usual | environ)
        return int(answer.status[:3]), answer.body.decode()

    def close(self) -> None:
        self.ledger.close()

    def stored(self) -> list[TapReport]:
        with self.ledger.read() as tables:
            return tables.tap_reports.of("fedora")

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def refused(self) -> dict[str, float]:
        """Return what was refused, by reason, without the zeros."""
        name = "busmon_tap_reports_refused_total"
        counts = {reason: self.value(name, reason=reason) for reason in REFUSALS}
        return {reason: count for reason, count in counts.items() if count}


@contextmanager
def served(bench: Bench, **settings: Any) -> Iterator[str]:
    """Serve it, and yield its URL."""
    with web_server.serving(Web(**{"listen": "127.0.0.1:0", **settings}), bench.app) as server:
        yield server.url
