"""Reports as the tap sends them, and what takes them, without a socket."""

import json
from io import BytesIO
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from prometheus_client import CollectorRegistry

from busmon.ledger.ledger import Ledger
from busmon.observers.base import ObserverMetrics
from busmon.observers.tap import REFUSALS, TapObserver
from busmon.settings.models import Web
from busmon.web.app import make_app
from busmon.web.reports import reports_endpoint

TOKEN = "s3cret-of-the-tap"
TOPIC = "org.fedoraproject.prod.copr.build.end"
NOW = 1_790_000_000.0
ID = "4ad5a2c6-5f0b-4f4e-9a55-9d7e0f3f5b0e"


def report(identity: str = ID, state: str = "passed", task: str | None = None) -> dict:
    return {"id": identity, "topic": TOPIC, "state": state, "task": task}


def batch(*reports: dict, **changes: object) -> dict:
    """A batch of a tap that has been there for a second."""
    fields = {"tap": "a tap", "seq": 1, "bus": "fedora", "since": 1.0, "until": 0.0, "lost": 0}
    return fields | {"reports": list(reports)} | changes


class Bench:
    """busmon's receiving side without a socket, its two clocks standing at NOW and 0."""

    def __init__(self, path: str = ":memory:") -> None:
        self.now, self.monotonic = NOW, 0.0
        self.ledger = Ledger(path)
        self.inbox = TapObserver(self.ledger, "fedora", lambda: self.monotonic)
        endpoint = reports_endpoint(self.inbox, TOKEN, lambda: self.now)
        self.app = make_app(Web(), CollectorRegistry(), list, str, own={"/v1/reports": endpoint})
        self.registry = CollectorRegistry()
        self.registry.register(ObserverMetrics([self.inbox]))

    def post(self, content: object, **environ: object) -> tuple[int, str]:
        """Post bytes, or JSON of anything else; return the answer's status and text."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        environ = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/v1/reports",
            "QUERY_STRING": "",
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/json",
            "HTTP_AUTHORIZATION": f"Bearer {TOKEN}",
            "wsgi.input": BytesIO(body),
        } | environ
        environ = {key: value for key, value in environ.items() if value is not None}
        setup_testing_defaults(environ)
        started: list[str] = []
        result = validator(self.app)(
            environ, lambda status, *_: started.append(status) or (lambda _: None)
        )
        try:
            text = b"".join(result).decode()
        finally:
            result.close()
        return int(started[0][:3]), text

    def stored(self) -> list[tuple[object, ...]]:
        with self.ledger.transaction() as db:
            return db.execute("SELECT id, topic, state, task, reported_at FROM reports").fetchall()

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def refused(self) -> dict[str, float]:
        """Return what was refused, by reason, without the zeros."""
        name = "busmon_tap_reports_refused_total"
        counts = {reason: self.value(name, reason=reason) for reason in REFUSALS}
        return {reason: count for reason, count in counts.items() if count}
