"""A Celery worker like packit-service's: `python -m …celery_worker BROKER OPTION…`.

If PUSHGATEWAY_ADDRESS and HOSTNAME are set, it pushes its count of events after each, as those do.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery, chain, chord
from prometheus_client import CollectorRegistry, Counter, push_to_gateway

from tests.support.brokers import Server
from tests.support.brokers.redis import Redis
from tests.support.busmon_process import PROJECT

PROCESS_MESSAGE = "task.steve_jobs.process_message"
HANDLER = "task.run_some_handler"  # sent by process_message
OTHER = "task.other"
QUEUE = "short-running"
OTHER_QUEUE = "long-running"  # of which this worker takes nothing


def make_app(broker: str) -> Celery:
    app = Celery("worker", broker=broker, set_as_current=False)
    app.conf.task_default_queue = QUEUE
    app.conf.broker_connection_retry_on_startup = True
    options = json.loads(os.environ.get("BROKER_TRANSPORT_OPTIONS", "{}"))
    app.conf.broker_transport_options = options

    registry = CollectorRegistry()
    processed = Counter("events_processed", "Events from Celery's queue", registry=registry)

    def process_message(self: Any, do: str = "", event: Any = None, **_: Any) -> None:
        if gateway := os.environ.get("PUSHGATEWAY_ADDRESS"):
            processed.inc()
            push_to_gateway(gateway, job=os.environ["HOSTNAME"], registry=registry)
        work(self, do or (event or {}).get("work", ""))

    def other() -> None:
        pass

    app.task(process_message, name=PROCESS_MESSAGE, bind=True)
    app.task(work, name=HANDLER, bind=True)
    app.task(other, name=OTHER)
    return app


def work(task: Any, do: str = "") -> None:
    """Do what is asked for."""
    if do == "fail":
        raise ValueError("c4nary")
    if do == "retry" and not task.request.retries:
        raise task.retry(countdown=0)
    if do == "hang":
        time.sleep(60)
    if do == "fan out":
        fan_out(task.app)


def fan_out(app: Any) -> None:
    """Send one handler that fails, one that is retried, one to the other queue, and two groups."""
    handler, other = app.tasks[HANDLER].si, app.tasks[OTHER].si
    app.send_task(HANDLER, ["fail"])
    handler("retry").apply_async()
    handler("").apply_async(queue=OTHER_QUEUE)
    chain(handler(""), other()).apply_async()
    chord([handler(""), handler("")], other()).apply_async()


class CeleryWorker(Server):
    """A worker process with one task at a time, apart from other workers."""

    def __init__(
        self,
        directory: Path,
        broker: Redis,
        *options: str,
        environment: dict[str, str] | None = None,
    ) -> None:
        command = [sys.executable, "-m", "tests.support.celery_worker", broker.url]
        alone = ["--concurrency=1", "--without-gossip", "--without-mingle"]
        super().__init__(
            [*command, *alone, "-l", "info", *options],
            directory / "worker.log",
            environment,
            PROJECT,
            ready=lambda server: server.logged(" ready."),
        )


if __name__ == "__main__":
    worker = make_app(sys.argv[1])
    worker.conf.task_send_sent_event = True  # as packit-service's; its listener does not set it
    worker.conf.result_backend = sys.argv[1]  # for the chord
    worker.worker_main(["worker", *sys.argv[2:]])
