"""Three busmons beside one, on one queue and one database: speed, memory, and what they wait for.

The database, the broker and the busmons share the cores of this machine. So they are also
measured with 50 millicores each, as a pod has: then the cores are enough for all.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from uuid import uuid4

import psycopg

from busmon.ledger.postgresql.connection import WRITING
from tests.bench import Options
from tests.bench.brokers import amqp_bus, unlimited_rabbitmq
from tests.bench.consumers import check_counted
from tests.bench.measure import (
    MIB,
    Cell,
    Run,
    Spread,
    Table,
    drain,
    interleaved,
    meanwhile,
)
from tests.bench.postgresql import COUNTED, DROP, ask, server
from tests.bench.quota import held_to
from tests.bench.stream import from_fedora
from tests.support.brokers.postgresql import PostgreSQL
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.replicas import replicas

NUMBERS = (1, 3)
MESSAGES = {None: 50_000, 0.05: 10_000}  # by the cores that each busmon has; None: any
LOOK_SECONDS = 0.01
# Each connection that writes or wants to: whether it has its turn, and whether the database works.
TURNS = f"""
SELECT granted, state = 'active' FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND objid::bigint = {WRITING & 0xFFFFFFFF}
"""

seeds = count(1_000)  # so that no message comes twice


@dataclass(slots=True)
class Shares:
    """In how many of the looks, over all rounds, busmons were at what."""

    looks: int = 0  # times busmons
    waiting: int = 0  # for another one to commit
    writing: int = 0  # while the database works
    holding: int = 0  # the same while busmon works
    follower_peak: list[int] = field(default_factory=list)  # bytes; empty without a follower


def run(options: Options) -> list[Table]:
    """Measure with all cores, and with 50 millicores for each busmon."""
    shares: dict[str, Shares] = {}
    with server() as database, unlimited_rabbitmq(options.directory) as broker:
        contestants = {}
        for cores, messages in MESSAGES.items():
            for number in NUMBERS:
                name = _name(number, cores)
                drain = partial(
                    _drain, database, broker, options, shares.setdefault(name, Shares())
                )
                contestants[name] = partial(drain, number, cores, options.size(messages))
        runs = interleaved(contestants, options.rounds, options.say)
    table: list[list[Cell]] = []
    for cores in MESSAGES:
        for number in NUMBERS:
            name = _name(number, cores)
            seen, its, first = shares[name], runs[name], runs[_name(1, cores)]
            counts = seen.waiting, seen.writing, seen.holding
            table.append(
                [
                    name,
                    Spread.of([run.rate for run in its]),
                    Spread.of([run.rate / one.rate for run, one in zip(its, first, strict=True)]),
                    Spread.of([run.milliseconds for run in its]),
                    *(100 * looks / max(1, seen.looks) for looks in counts),
                    max(seen.follower_peak, default=0) / MIB or "",
                ]
            )
    return [
        Table(
            title="Replicas: busmons on one queue and one database",
            columns=[
                "busmons",
                "messages/s in all",
                "by one",
                "CPU ms for 1,000",
                "% of the time waiting for another one's commit",
                "% writing: the database works",
                "% writing: busmon works",
                "peak of a follower, MiB",
            ],
            rows=table,
            notes=[
                f"On {os.cpu_count()} cores, for broker and database, too. Aim: 1.6 times where"
                " busmon is the limit. The publisher is done before.",
            ],
        )
    ]


def _name(number: int, cores: float | None) -> str:
    return f"{number}" if cores is None else f"{number}, each with {cores * 1000:.0f} millicores"


def _drain(
    database: PostgreSQL,
    broker: RabbitMQ,
    options: Options,
    shares: Shares,
    number: int,
    cores: float | None,
    messages: int,
) -> Run:
    """Time busmons that are subscribed to one queue, and are stopped while it is filled."""
    ask(database, DROP)
    queue = str(uuid4())
    directory = options.directory / queue
    directory.mkdir()
    bus = amqp_bus(broker, directory, queue, tls=False)
    with replicas(number, directory, {"bench": bus}, database.url) as busmons:
        for busmon in busmons:
            busmon.wait_until_ready()
        run = drain(
            busmons,
            lambda: broker.publish(from_fedora(messages, seed=next(seeds))),
            messages,
            lambda: ask(database, COUNTED) >= messages,
            _watched(database, busmons, cores, shares),
        )
        shares.follower_peak += [busmon.peak_memory() for busmon in busmons[1:]]
        check_counted(busmons[:1], messages)  # each shows all
    broker.delete_queue(queue)
    return run


@contextmanager
def _watched(
    database: PostgreSQL, busmons: Sequence[Busmon], cores: float | None, shares: Shares
) -> Iterator[None]:
    """Hold each to so many cores, and look what they are at."""
    look = partial(_look, database, len(busmons), shares)
    pids = [busmon.pid for busmon in busmons]
    with nullcontext() if cores is None else held_to(cores, pids), meanwhile(look):
        yield


def _look(database: PostgreSQL, busmons: int, shares: Shares, ending: threading.Event) -> None:
    """Look until `ending` what the busmons are at."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        while not ending.wait(LOOK_SECONDS):
            shares.looks += busmons
            for granted, active in connection.execute(TURNS.encode()):
                shares.waiting += not granted
                shares.writing += granted and active
                shares.holding += granted and not active
