"""The Celery observer at work beside a Redis, and what workers and publishers send to it."""

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from busmon.ledger.ledger import Ledger
from busmon.ledger.tasks import Task
from busmon.ledger.values import Interval
from busmon.observers.celery import CeleryObserver, CelerySettings
from tests.support.brokers import wait_until
from tests.support.brokers.redis import Redis
from tests.support.celery_worker import PROCESS_MESSAGE, QUEUE, make_app
from tests.support.threads import running

NAME = "celery:fedora"


def publish(broker: Redis, do: str, priority: int = 0, name: str = PROCESS_MESSAGE) -> str:
    """Publish a task as the listener does, and return its id."""
    app = make_app(broker.url)
    with app.connection_for_write() as connection:
        args = (do,) if name == PROCESS_MESSAGE else ()
        return str(app.send_task(name, args, connection=connection, priority=priority).id)


class Watch:
    """An observer at work, and its ledger."""

    def __init__(self, path: Path | str, broker: str, **settings: Any) -> None:
        self.ledger = Ledger(str(path))
        usual: dict[str, Any] = {"bus": "fedora", "broker": broker, "interval": 1}
        self.observer = CeleryObserver(CelerySettings.model_validate(usual | settings), self.ledger)
        self._registry = CollectorRegistry()
        self._registry.register(self.observer)

    def task(self, task: str) -> Task | None:
        with self.ledger.read() as tables:
            return tables.tasks.get(task)

    def state(self, task: str) -> str | None:
        found = self.task(task)
        return found and found.state

    def wait_for(self, state: str, *tasks: str) -> None:
        for task in tasks:
            wait_until(lambda: self.state(task) == state, what=f"a task {state}")  # noqa: B023 - called at once

    def value(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(name, labels)

    def connected(self) -> bool:
        """Whether it has measured its queue, also if there is no worker."""
        return self.waiting() is not None

    def waiting(self) -> float | None:
        return self.value("busmon_celery_queue_tasks", queue=QUEUE)

    def counted(self, event: str, task: str = PROCESS_MESSAGE) -> float | None:
        labels = {"event": event, "task": task}
        return self.value("busmon_celery_task_events_total", **labels)

    def intervals(self) -> list[Interval]:
        with self.ledger.read() as tables:
            return tables.coverage.intervals(NAME)


@contextmanager
def watching(path: Path, broker: Redis, **settings: Any) -> Iterator[Watch]:
    watch = Watch(path, **{"broker": broker.url} | settings)
    with running(watch.observer.run):
        wait_until(watch.connected, what="the observer to be connected")
        yield watch
    watch.ledger.close()


def enveloped(content: bytes, **headers: str) -> dict[str, object]:
    return {
        "body": b64encode(content).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {"body_encoding": "base64", "delivery_tag": "x", "delivery_info": {}},
    }


def heartbeat(**fields: object) -> bytes:
    return json.dumps(
        {"type": "worker-heartbeat", "hostname": "w", "processed": 1} | fields
    ).encode()


def event(kind: str, task: object = "t", **fields: Any) -> dict[str, object]:
    return {"type": f"task-{kind}", "uuid": task, "hostname": "w"} | fields
