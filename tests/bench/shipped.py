"""Memory of all that Packit needs: as its template starts busmon, and with everything on."""

import json
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler
from itertools import cycle, islice
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen
from uuid import uuid4

from busmon.web.pages.table import PAGES
from tests.bench import Options
from tests.bench.brokers import amqp_bus, unlimited_rabbitmq
from tests.bench.installed import as_installed
from tests.bench.measure import CONSUMER_TIMEOUT, MIB, Cell, Table, meanwhile
from tests.bench.memory import DAYS, ROWS
from tests.bench.stream import TYPICAL, from_fedora
from tests.ledger.past import with_past
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.busmon_process import Busmon
from tests.support.celery_worker import PROCESS_MESSAGE, CeleryWorker, make_app
from tests.support.http_server import Silent, serving
from tests.support.tap_reports import TOKEN, batch

MESSAGES = 100_000
CHUNK = 1_000  # messages published at once, and then reported
TASKS = 50  # of each chunk
REPORTS = 200  # in a batch
PAGE_SECONDS = 1.0  # between two pages that are asked for
TEMPLATE = """
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
OTHERS = """
[audit.ready]
bus = "fedora"
url = "{url}/ready"
[archive]
bus = "fedora"
url = "{url}/datagrepper"
contact = "bench@example.com"
"""
PATHS = [f"/{page.path}" for page in PAGES if not page.has_rest]


class _Others(Silent, BaseHTTPRequestHandler):
    """Stands in for the listener's monitor, and for an archive: it has what it is asked for."""

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        messages = []
        if query:
            sent = datetime.fromtimestamp(min(float(query["end"][0]), time.time()) - 1, UTC)
            message = {
                "topic": query.get("topic", ["a.topic"])[0],
                "headers": {"sent-at": sent.isoformat()},
                "body": {"padding": "x" * TYPICAL},
            }
            rows = int(query["rows_per_page"][0])
            messages = [message | {"id": str(uuid4())} for _ in range(rows)]
        answer = json.dumps({"total": len(messages), "raw_messages": messages}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class _Brokers(NamedTuple):
    """What busmon and the workers are connected to."""

    rabbitmq: RabbitMQ
    redis: Redis


def run(options: Options) -> list[Table]:
    """Watch the memory at rest and while all observers have much to do."""
    place = options.directory
    redis = Redis(place)
    with (
        unlimited_rabbitmq(place) as rabbitmq,
        redis.server,
        CeleryWorker(place, redis, "-E", "--pool=solo"),
        serving(_Others) as url,
    ):
        brokers = _Brokers(rabbitmq, redis)
        template = TEMPLATE.format(token=TOKEN, broker=redis.url)
        name = "as Packit's template starts busmon"
        shipped = _measure(options, brokers, name, template)
        everything = template + OTHERS.format(url=url)
        name = "everything on, and a page each second"
        return [shipped, _measure(options, brokers, name, everything, PATHS)]


def _measure(
    options: Options, brokers: _Brokers, name: str, settings: str, asked: Sequence[str] = ()
) -> Table:
    place, messages = options.directory / str(uuid4()), options.size(MESSAGES)
    place.mkdir()
    with_past(place / "ledger.sqlite", options.size(ROWS), time.time() - DAYS, time.time())
    bus = amqp_bus(brokers.rabbitmq, place, str(uuid4()), tls=True)
    busmon = Busmon(place, {"fedora": bus})
    busmon.configure(settings)
    with as_installed(busmon):
        busmon.wait_until_ready()
        if asked:
            wait_until(partial(_archive_is_up, busmon), what="the archive to answer")
        busmon.ask("/metrics")
        rows = [_row("at rest", busmon)]
        with meanwhile(partial(_ask, busmon, asked)) if asked else nullcontext():
            _flow(busmon, brokers, messages)
        rows += [_row(f"after {messages:,} messages", busmon)]
        peak: list[Cell] = ["peak", busmon.peak_memory() / MIB, ""]
    return Table(
        title=f"Memory: {name}, MiB",
        columns=["", "resident", "of it, not of files"],
        rows=[*rows, peak],
        notes=[
            f"AMQP with TLS, the tap's reports, Celery's events, three queues, Sentry; a ledger"
            f" of {options.size(ROWS):,} rows. As in the image.",
            *(["Also the listener's monitor, an archive, and all pages in turn."] if asked else []),
        ],
    )


def _archive_is_up(busmon: Busmon) -> bool:
    _, lines = busmon.ask("/metrics?name[]=busmon_observer_up")
    return any(line.endswith(" 1.0") for line in lines if 'observer="archive"' in line)


def _ask(busmon: Busmon, paths: Sequence[str], ending: threading.Event) -> None:
    """Ask for one page after the other until `ending`."""
    for path in cycle(paths):
        if ending.wait(PAGE_SECONDS):
            return
        status, _ = busmon.ask(path)
        assert status in {200, 503}, path  # 503: reading takes too long on a busy machine


def _row(name: str, busmon: Busmon) -> list[Cell]:
    return [name, busmon.memory() / MIB, busmon.own_memory() / MIB]


def _flow(busmon: Busmon, brokers: _Brokers, messages: int) -> None:
    """Publish messages, report each, and let the worker finish some tasks."""
    stream, app = from_fedora(messages, 1), make_app(brokers.redis.url)
    before = busmon.counts().total()
    with app.connection_for_write() as connection:
        for number, chunk in enumerate(iter(lambda: list(islice(stream, CHUNK)), []), start=1):
            brokers.rabbitmq.publish(chunk)
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
