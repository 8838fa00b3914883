"""A ledger in PostgreSQL with 50 million messages: pages, searches, a scrape, and writes."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from statistics import median
from urllib.parse import quote, urlencode
from uuid import uuid4

import psycopg

from busmon.ledger.ledger import Ledger
from tests.bench import Options
from tests.bench.brokers import amqp_bus, unlimited_rabbitmq
from tests.bench.measure import Cell, Spread, Table, cpu_seconds
from tests.bench.months import BUS, DAYS, fill
from tests.bench.postgresql import server
from tests.support.brokers.postgresql import PostgreSQL
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.ledgers import database_at, judged
from tests.support.tap_reports import TOKEN

ROWS = 50_000_000
ASKS = 5  # of each page in a round
STEPS = 20  # of pruning, and of recording, in a round
BATCH = 200
BUSY = "org.fedoraproject.prod.copr.build.end"
RARE = "org.fedoraproject.prod.forgejo.action_run_cancelled"
OBSERVED = f"""
[audit.reports]
bus = "{BUS}"
token = "{TOKEN}"
"""
# A machine with 50 million messages has more memory than PostgreSQL's default takes.
SETTINGS = {"shared_buffers": "1GB", "effective_cache_size": "8GB", "max_wal_size": "4GB"}
BUSMONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'busmon'"


def run(options: Options) -> list[Table]:
    """Measure reading, then writing."""
    rows, now = options.size(ROWS), time.time()
    with server(SETTINGS) as database, unlimited_rabbitmq(options.directory) as broker:
        fill(database.url, rows, now, options.say)
        return [_pages(database, broker, rows, options), _writing(database, rows, options)]


def paths(url: str, rows: int) -> Mapping[str, str]:
    """Return what is asked for: pages, searches as `busmon find` makes them, and a scrape."""
    with psycopg.connect(url) as db:
        (identity,) = db.execute(
            "SELECT encode(id, 'hex')::uuid::text FROM busmon.messages WHERE seq = %s", (rows // 2,)
        ).fetchone() or ("",)
    found = {
        "/": "/",
        "/topics": "/topics",
        "/topics: a busy one": f"/topics/{BUS}/{BUSY}",
        "the same, 13 months": f"/topics/{BUS}/{BUSY}?range=13m",
        "/topics: a rare one": f"/topics/{BUS}/{RARE}",
        "/messages": "/messages",
        "/messages of an outcome": "/messages?outcome=unmapped",
        "/messages: one": f"/messages/{BUS}/{identity}",
        "/gaps": "/gaps",
        "/incidents": "/incidents",
        "/incidents of a year": "/incidents?days=365",
        "/metrics": "/metrics",
    }
    queries = {
        "a package": "python-module7",
        "an old build": str(9_000_000 + rows // 10 // 20 * 20),
        "what no message has": "no-such-package",
        "two words": "python-module7 project-3",
    }
    asked = {
        f"find: {name}": f"/v1/messages?{urlencode({'q': query}, quote_via=quote)}"
        for name, query in queries.items()
    }
    return found | asked


def _pages(database: PostgreSQL, broker: RabbitMQ, rows: int, options: Options) -> Table:
    bus = amqp_bus(broker, options.directory, str(uuid4()), tls=False)
    ledger = {"url": database.url, "retention": f"{DAYS + 30}d", "size_limit": "1000GiB"}
    busmon = Busmon(options.directory, {BUS: bus}, **ledger)
    busmon.configure(OBSERVED)
    with busmon:
        busmon.wait_until_ready()
        table = list(measured(database.url, busmon, options.rounds * ASKS, rows))
    return Table(
        title=f"Pages of a ledger in PostgreSQL with {rows:,} messages",
        columns=[
            "",
            "the first time, ms",
            "ms",
            "CPU ms of busmon",
            "CPU ms of the database",
            "too slow",
        ],
        rows=table,
        notes=[
            "Aim: 100 ms of both CPU times together. Too slow: how often a page was refused, since"
            " reading took more than a second."
        ],
    )


def measured(url: str, busmon: Busmon, asks: int, rows: int) -> Iterator[list[Cell]]:
    """Yield a row for each page."""
    with psycopg.connect(url, autocommit=True) as db:
        for name, path in paths(url, rows).items():
            times: list[tuple[float, float, float]] = []
            refused = 0
            for _ in range(asks + 1):
                workers = [pid for (pid,) in db.execute(BUSMONS).fetchall()]
                before = cpu_seconds(busmon.pid), _cpu_of(workers)
                started = time.perf_counter()
                status, lines = busmon.ask(path)
                took = time.perf_counter() - started
                assert status in {200, 503}, (path, lines)
                refused += status == 503
                own = cpu_seconds(busmon.pid) - before[0]
                times.append((took, own, _cpu_of(workers) - before[1]))
                time.sleep(min(2.0, 20 * own))  # busmon would wait so long before the next one
            later = [[1000 * each for each in column] for column in zip(*times[1:], strict=True)]
            yield [name, 1000 * times[0][0], *map(Spread.of, later), refused]


def _cpu_of(workers: Sequence[int]) -> float:
    used = 0.0
    for pid in workers:
        with suppress(OSError):  # its connection has ended
            used += cpu_seconds(pid)
    return used


def _writing(database: PostgreSQL, rows: int, options: Options) -> Table:
    """Record, and prune, by the ledger alone."""
    ways: dict[str, list[float]] = {"record": [], "prune": []}
    begun = time.time() - (DAYS - 1) * 86_400
    with closing(Ledger(database_at(database.url))) as ledger:
        for _ in range(options.rounds * STEPS):
            started = time.perf_counter()
            ledger.record(judged(*(uuid4() for _ in range(BATCH)), at=time.time(), bus=BUS))
            ways["record"].append(1000 * (time.perf_counter() - started))
            started = time.perf_counter()
            ledger.prune(time.time(), time.time() - begun)
            ways["prune"].append(1000 * (time.perf_counter() - started))
    return Table(
        title=f"Writing to a ledger in PostgreSQL with {rows:,} messages",
        columns=["", "ms", "longest, ms"],
        rows=[
            [f"record {BATCH} messages", median(ways["record"]), max(ways["record"])],
            ["a step of pruning", median(ways["prune"]), max(ways["prune"])],
        ],
        notes=["By turns, by the ledger alone."],
    )
