"""Growth: throughput by the rows of the ledger, and by processes on one shared queue."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from uuid import uuid4

from busmon.ledger.ledger import Ledger
from tests.bench import Options
from tests.bench.brokers import amqp_bus, unlimited_rabbitmq
from tests.bench.consumers import check_counted, recorded
from tests.bench.measure import (
    MIB,
    Cell,
    Run,
    Spread,
    Table,
    drain,
    interleaved,
)
from tests.bench.stream import from_fedora
from tests.ledger.past import with_past
from tests.ledger.sql import message_ids
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.ledgers import judged

ROWS = (1_000_000, 10_000_000, 30_000_000)
PROCESSES = (1, 2, 4)
MESSAGES = 20_000
BATCH = 200  # messages, about as many as AMQP delivers at once
SIZE_LIMIT = "16GiB"  # so that the ledger is not pruned meanwhile; 30 million rows take 4 GiB
DAYS = 6 * 86_400.0  # of the past, all within the retention

seeds = count(1)  # so that no message comes twice


def run(options: Options) -> list[Table]:
    """Measure both."""
    with unlimited_rabbitmq(options.directory) as broker:
        return [_rows(broker, options), _processes(broker, options)]


def _rows(broker: RabbitMQ, options: Options) -> Table:
    messages = options.size(MESSAGES)
    ledgers: dict[str, Path] = {}
    contestants: dict[str, Callable[[], Run]] = {}
    for rows in map(options.size, ROWS):
        started = time.monotonic()
        directory = options.directory / f"{rows} rows"
        directory.mkdir()
        name = f"{rows:,}"
        ledgers[name] = with_past(
            directory / "ledger.sqlite", rows, time.time() - DAYS, time.time()
        )
        options.say(f"  {name} rows made in {time.monotonic() - started:.0f} s")
        contestants[f"ledger, {name}"] = partial(_record, ledgers[name], messages)
        contestants[f"AMQP, {name}"] = partial(_drain, broker, [directory], messages)
    os.sync()  # nothing of the past may be written during the measurement
    runs = interleaved(contestants, options.rounds, options.say)
    table: list[list[Cell]] = []
    for name, path in ledgers.items():
        row: list[Cell] = [name, path.stat().st_size / MIB]
        for way in ("ledger", "AMQP"):
            its, first = runs[f"{way}, {name}"], runs[f"{way}, {next(iter(ledgers))}"]
            rates = [run.rate / one.rate for run, one in zip(its, first, strict=True)]
            row += [Spread.of([run.rate for run in its]), Spread.of(rates)]
        table.append(row)
        path.unlink()
    return Table(
        title="Growth: rows in the ledger",
        columns=[
            "rows before",
            "MiB",
            "ledger alone, messages/s",
            "by the first",
            "whole way, messages/s",
            "by the first",
        ],
        rows=table,
        notes=[
            f"{messages:,} messages a run. Ledger alone: `record` in batches of {BATCH}. Whole"
            " way: AMQP without TLS. Aim: within 20 % of the first.",
            "The ids are random, so that each message changes a page of the index somewhere:"
            " it bends where the index no longer fits into the page cache.",
        ],
    )


def _record(path: Path, messages: int) -> Run:
    ledger = Ledger(str(path))
    cpu, start = time.process_time(), time.perf_counter()
    for begin in range(0, messages, BATCH):
        ids = (uuid4() for _ in range(min(BATCH, messages - begin)))
        ledger.record(judged(*ids, at=time.time(), sent_at=time.time() - 1))
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    ledger.close()
    peak = getrusage(RUSAGE_SELF).ru_maxrss * 1024
    return Run(messages=messages, seconds=seconds, cpu=used, peak=peak)


def _processes(broker: RabbitMQ, options: Options) -> Table:
    messages = options.size(MESSAGES)
    runs = interleaved(
        {
            str(number): partial(_shared, broker, options.directory, number, messages)
            for number in PROCESSES
        },
        options.rounds,
        options.say,
    )
    return Table(
        title="Growth: processes on one queue, each with its own ledger",
        columns=["processes", "messages", "messages/s in all", "by one", "CPU ms for 1,000"],
        rows=[
            [
                name,
                messages,
                Spread.of([run.rate for run in its]),
                Spread.of([run.rate / one.rate for run, one in zip(its, runs["1"], strict=True)]),
                Spread.of([run.milliseconds for run in its]),
            ]
            for name, its in runs.items()
        ],
        notes=[
            "Each time the ledgers had, together, every message exactly once.",
            f"On {os.cpu_count()} cores, of which the broker takes its part.",
        ],
    )


def _shared(broker: RabbitMQ, place: Path, number: int, messages: int) -> Run:
    """Let several drain one queue; every message must be in exactly one ledger."""
    directories = [place / str(uuid4()) for _ in range(number)]
    for directory in directories:
        directory.mkdir()
    run = _drain(broker, directories, messages)
    ids: list[object] = []
    for directory in directories:
        ids += message_ids(directory / "ledger.sqlite")
    assert len(ids) == len(set(ids)) == messages, f"{len(ids)} rows, {len(set(ids))} messages"
    return run


def _drain(broker: RabbitMQ, directories: Sequence[Path], messages: int) -> Run:
    """Time a busmon in each directory, subscribed to one queue; see `measure.drain`."""
    queue = str(uuid4())
    with ExitStack() as stack:
        buses = [amqp_bus(broker, place, queue, tls=False) for place in directories]
        busmons = [
            stack.enter_context(Busmon(place, {"bench": bus}, size_limit=SIZE_LIMIT))
            for place, bus in zip(directories, buses, strict=True)
        ]
        stack.callback(broker.delete_queue, queue)
        for busmon in busmons:
            busmon.wait_until_ready()
        ledgers = [place / "ledger.sqlite" for place in directories]
        expected = sum(map(recorded, ledgers)) + messages
        run = drain(
            busmons,
            lambda: broker.publish(from_fedora(messages, seed=next(seeds))),
            messages,
            lambda: sum(map(recorded, ledgers)) >= expected,
        )
        check_counted(busmons, expected)
    return run
