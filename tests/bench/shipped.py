"""Memory as Packit's template starts busmon: one AMQP bus, the tap, Celery's events, Sentry."""

import json
import time
from collections.abc import Sequence
from itertools import islice
from urllib.request import Request, urlopen
from uuid import uuid4

from tests.bench import Options
from tests.bench.brokers import amqp_bus, unlimited_rabbitmq
from tests.bench.installed import as_installed
from tests.bench.measure import CONSUMER_TIMEOUT, MIB, Cell, Table
from tests.bench.memory import DAYS, ROWS
from tests.bench.stream import from_fedora
from tests.ledger.past import with_past
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.busmon_process import Busmon
from tests.support.celery_worker import PROCESS_MESSAGE, CeleryWorker, make_app
from tests.support.tap_reports import TOKEN, batch

MESSAGES = 100_000
CHUNK = 1_000  # messages published at once, and then reported
TASKS = 50  # of each chunk
REPORTS = 200  # in a batch
OBSERVED = """
[audit.reports]
bus = "fedora"
token = "{token}"
[audit.celery]
bus = "fedora"
broker = "{broker}"
queues = ["short-running", "long-running", "rate-limited"]
[sentry]
dsn = "http://key@127.0.0.1:9/1"
"""


def run(options: Options) -> list[Table]:
    """Watch the memory at rest and while all observers have much to do."""
    place, messages = options.directory, options.size(MESSAGES)
    with_past(place / "ledger.sqlite", options.size(ROWS), time.time() - DAYS, time.time())
    redis = Redis(place)
    with (
        unlimited_rabbitmq(place) as rabbitmq,
        redis.server,
        CeleryWorker(place, redis, "-E", "--pool=solo"),
    ):
        busmon = Busmon(place, {"fedora": amqp_bus(rabbitmq, place, str(uuid4()), tls=True)})
        busmon.configure(OBSERVED.format(token=TOKEN, broker=redis.url))
        with as_installed(busmon):
            busmon.wait_until_ready()
            busmon.ask("/metrics")
            rows = [_row("at rest", busmon)]
            _flow(busmon, rabbitmq, redis, messages)
            rows += [_row(f"after {messages:,} messages", busmon)]
            peak: list[Cell] = ["peak", busmon.peak_memory() / MIB, ""]
    return [
        Table(
            title="Memory: as Packit's template starts busmon, MiB",
            columns=["", "resident", "of it, not of files"],
            rows=[*rows, peak],
            notes=[
                f"AMQP with TLS, the tap's reports, Celery's events, three queues, Sentry; a ledger"
                f" of {options.size(ROWS):,} rows. As in the image.",
            ],
        )
    ]


def _row(name: str, busmon: Busmon) -> list[Cell]:
    return [name, busmon.memory() / MIB, busmon.own_memory() / MIB]


def _flow(busmon: Busmon, rabbitmq: RabbitMQ, redis: Redis, messages: int) -> None:
    """Publish messages, report each, and let the worker finish some tasks."""
    stream, app = from_fedora(messages, 1), make_app(redis.url)
    before = busmon.counts().total()
    with app.connection_for_write() as connection:
        for number, chunk in enumerate(iter(lambda: list(islice(stream, CHUNK)), []), start=1):
            rabbitmq.publish(chunk)
            _report(busmon, number, chunk)
            for _ in range(TASKS):
                app.send_task(PROCESS_MESSAGE, ("do",), connection=connection)
    wait_until(
        lambda: busmon.counts().total() - before == messages,
        CONSUMER_TIMEOUT,
        "all messages to be counted",
    )


def _report(busmon: Busmon, number: int, messages: Sequence[Publication]) -> None:
    """Report messages as the tap does, at most as many at once as it sends."""
    for start in range(0, len(messages), REPORTS):
        reports = [
            {"id": message.message_id, "topic": message.topic, "state": "dropped", "task": None}
            for message in messages[start : start + REPORTS]
        ]
        content = json.dumps(batch(*reports, seq=number * CHUNK + start)).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        with urlopen(Request(f"{busmon.url}/v1/reports", content, headers), timeout=30) as answer:
            answer.read()
