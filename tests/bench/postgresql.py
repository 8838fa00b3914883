"""A ledger in PostgreSQL beside one in SQLite: the whole way of a message, and bytes a row."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from types import MappingProxyType
from uuid import uuid4

import psycopg

from busmon.ledger.batch import Observation
from busmon.ledger.engines import LedgerPlace
from busmon.ledger.ledger import Ledger
from busmon.rules.subjects import Subjects
from busmon.settings.models import LedgerSettings
from tests.bench import Options
from tests.bench.brokers import amqp_bus, unlimited_rabbitmq
from tests.bench.consumers import drain_busmon, drain_started
from tests.bench.ledger import about
from tests.bench.measure import Cell, Run, Spread, Table, compared, interleaved
from tests.bench.stream import from_fedora
from tests.bench.subjects import events
from tests.support.brokers.postgresql import PostgreSQL
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.ledgers import database_at, judged

MESSAGES = 50_000
RECORDED = 100_000
DROP = "DROP SCHEMA IF EXISTS busmon CASCADE"
COUNTED = "SELECT coalesce(sum(messages), 0) FROM busmon.series"
SIZE = """
SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE relnamespace = 'busmon'::regnamespace AND relkind = 'r'
"""


def run(options: Options) -> list[Table]:
    """Measure both, the database with `fsync`."""
    with server() as database, unlimited_rabbitmq(options.directory) as broker:
        return [_recording(database, options), _whole_way(database, broker, options)]


@contextmanager
def server(settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[PostgreSQL]:
    """Yield a PostgreSQL in a directory on a disk that its user can reach."""
    directory = Path(mkdtemp(prefix="busmon-bench-", dir="/var/tmp"))
    directory.chmod(0o755)
    try:
        with PostgreSQL(directory, "busmon", settings={"fsync": "on", **settings}) as started:
            yield started
    finally:
        shutil.rmtree(directory)


def ask(database: PostgreSQL, statement: str) -> int:
    """Execute a statement; return the number that it returns, 0 for none."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return int(cursor.fetchall()[0][0]) if cursor.description else 0


def _whole_way(database: PostgreSQL, broker: RabbitMQ, options: Options) -> Table:
    messages = options.size(MESSAGES)

    def busmon(*, in_database: bool) -> Run:
        queue = str(uuid4())
        directory = options.directory / queue
        directory.mkdir()
        settings = amqp_bus(broker, directory, queue, tls=False)
        fill = partial(_publish, broker, messages)
        if not in_database:
            return drain_busmon(directory, settings, fill, messages)
        ask(database, DROP)
        started = Busmon(directory, {"bench": settings}, url=database.url)
        with psycopg.connect(database.url, autocommit=True) as connection:

            def on_disk() -> int:
                found = connection.execute(COUNTED).fetchone()
                return int(found[0]) if found else 0

            return drain_started(started, fill, messages, on_disk)

    contestants = {
        "PostgreSQL": partial(busmon, in_database=True),
        "SQLite": partial(busmon, in_database=False),
    }
    runs = interleaved(contestants, options.rounds, options.say)
    notes = ["The database runs on the same machine. Aim: 0.6 of SQLite's speed."]
    return compared("AMQP: busmon by the engine of its ledger", runs, "PostgreSQL", notes)


def _publish(broker: RabbitMQ, messages: int) -> None:
    broker.publish(from_fedora(messages))


def _recording(database: PostgreSQL, options: Options) -> Table:
    """Let the ledger alone record."""
    rows = options.size(RECORDED)
    subjects = Subjects(LedgerSettings().subjects)
    table: list[list[Cell]] = []
    for size in (500, 50):
        for keys in ("none", "as by default"):
            rates: dict[str, list[float]] = {"PostgreSQL": [], "SQLite": []}
            for number in range(options.rounds):
                if keys == "none":
                    messages = judged(*(uuid4() for _ in range(rows)))
                else:
                    messages = [about(subjects, *event) for event in islice(events(), rows)]
                ask(database, DROP)
                place = database_at(database.url)
                rates["PostgreSQL"].append(_rate(place, messages, size))
                path = options.directory / f"{size}-{keys}-{number}.sqlite"
                rates["SQLite"].append(_rate(str(path), messages, size))
            table.append(
                [
                    f"{size}, keys {keys}",
                    *map(Spread.of, rates.values()),
                    Spread.of([one / other for one, other in zip(*rates.values(), strict=True)]),
                    ask(database, SIZE) / rows,
                    path.stat().st_size / rows,
                ]
            )
    return Table(
        title="Ledger: recording by engine",
        columns=[
            "batches",
            "PostgreSQL, messages/s",
            "SQLite, messages/s",
            "ratio",
            "PostgreSQL, bytes a row",
            "SQLite, bytes a row",
        ],
        rows=table,
        notes=["Keys have the mix of Fedora's bus: 3.5 a message, each set in 3 messages."],
    )


def _rate(place: LedgerPlace, messages: Sequence[Observation], size: int) -> float:
    with closing(Ledger(place)) as ledger:
        started = time.perf_counter()
        for start in range(0, len(messages), size):
            ledger.record(messages[start : start + size])
        return len(messages) / (time.perf_counter() - started)
