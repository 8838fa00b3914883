"""The ledger by itself: bytes a row, the cost of keys, how long counting waits for pruning."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from uuid import uuid4

from busmon.ledger.batch import Observation, Series
from busmon.ledger.ledger import Ledger
from busmon.ledger.shares import ROWS_AT_ONCE
from busmon.message import Message
from busmon.pruning import YIELD_SECONDS
from busmon.rules.subjects import Subjects
from busmon.settings.models import LedgerSettings
from tests.bench import Options
from tests.bench.measure import Cell, Spread, Table, quantile
from tests.bench.subjects import events
from tests.ledger.past import with_past
from tests.support.ledgers import judged

RECORDED = 200_000  # messages for the bytes a row
PAST = 1_000_000
BATCH = 50
PAUSE = 0.025  # seconds between two batches: 2,000 messages a second
QUIET = 20.0  # seconds of counting without pruning, to compare with
DAY = 86_400.0
IDS: dict[str, Callable[[int], object]] = {
    "UUID": lambda _: uuid4(),
    "digest (MQTT)": lambda _: uuid4().hex,
    "ActiveMQ's": lambda number: f"ID:broker.example.com-45678-1790000000000-3:1:1:1:{number}",
}


def run(options: Options) -> list[Table]:
    """Measure all three."""
    return [_bytes_a_row(options), _keys(options), _pruning(options)]


def _bytes_a_row(options: Options) -> Table:
    rows = options.size(RECORDED)
    table: list[list[Cell]] = []
    for name, identity in IDS.items():
        path = options.directory / f"{name}.sqlite"
        ledger = Ledger(str(path))
        for start in range(0, rows, BATCH):
            _record(ledger, (identity(number) for number in range(start, start + BATCH)))
        ledger.close()
        table.append([name, rows, path.stat().st_size / rows])
    return Table(
        title="Ledger: size",
        columns=["ids", "rows", "bytes a row, with its indexes"],
        rows=table,
        notes=["Fedora's messages have a UUID. Aim: at most 120."],
    )


def _keys(options: Options) -> Table:
    """Measure what it costs to keep what messages are about: bytes, and CPU time of recording."""
    rows = options.size(RECORDED)
    bodies = list(islice(events(), rows))
    table: list[list[Cell]] = []
    for name, kinds in (("none", ()), ("as configured by default", LedgerSettings().subjects)):
        costs, path = [], options.directory / f"keys-{len(kinds)}.sqlite"
        for _ in range(options.rounds):
            path.unlink(missing_ok=True)
            ledger, subjects = Ledger(str(path)), Subjects(kinds)
            started = time.process_time()
            for start in range(0, rows, BATCH):
                ledger.record([about(subjects, *event) for event in bodies[start : start + BATCH]])
            costs.append((time.process_time() - started) / rows * 1e6)
            ledger.close()
        table.append([name, rows, path.stat().st_size / rows, Spread.of(costs)])
    return Table(
        title="Ledger: the keys of messages",
        columns=["keys", "rows", "bytes a row", "CPU µs a message, to find keys and record"],
        rows=table,
        notes=["About the mix of Fedora's bus: 3.5 keys a message, each set in 3 messages."],
    )


def about(subjects: Subjects, topic: str, body: object) -> Observation:
    """Return what is recorded of a message with this body."""
    now = time.time()
    message = Message(bus="fedora", id=str(uuid4()), topic=topic, received_at=now, body=body)
    series = Series("fedora", topic, "handled", "")
    return Observation(series, message.id, now, now - 1, keys=subjects.keys(message))


def _pruning(options: Options) -> Table:
    past = options.size(PAST)
    quiet: list[list[float]] = []
    pruning: list[list[float]] = []
    speeds = []
    for number in range(options.rounds):
        now = time.time()
        path = options.directory / f"pruned-{number}.sqlite"
        with_past(path, past, now - 9 * DAY, now - 8 * DAY, scattered=True)
        ledger = Ledger(str(path))
        end = time.monotonic() + QUIET * min(1.0, options.scale)
        quiet.append(sorted(_waits(ledger, lambda: time.monotonic() < end)))  # noqa: B023 - called at once
        pruner = threading.Thread(target=_prune, args=(ledger,))
        started = time.monotonic()
        pruner.start()
        pruning.append(sorted(_waits(ledger, pruner.is_alive)))
        speeds.append(past / (time.monotonic() - started))
        assert ledger.pruned == {"age": past, "size": 0}
        ledger.close()
        options.say(f"  {number + 1}/{options.rounds}: longest {1000 * pruning[-1][-1]:.0f} ms")
    return Table(
        title=f"Ledger: batches of {BATCH} while {past:,} old rows are pruned",
        columns=["", "median, ms", "99 %, ms", "longest, ms", "rows pruned a second"],
        rows=[
            _row("not pruning", quiet, "none"),
            _row("pruning", pruning, Spread.of(speeds)),
        ],
        notes=[
            f"The time of a `record`, waiting included; {BATCH / PAUSE:,.0f} messages a second."
            f" Pruned as the service does: {ROWS_AT_ONCE} rows at once,"
            f" {YIELD_SECONDS * 1000:.0f} ms between. Aim: the longest below 100 ms.",
        ],
    )


def _prune(ledger: Ledger) -> None:
    while ledger.prune(time.time(), 7 * DAY):
        time.sleep(YIELD_SECONDS)


def _waits(ledger: Ledger, going_on: Callable[[], bool]) -> Iterator[float]:
    """Record batches and yield how long each took, in seconds."""
    while True:  # at least once, however soon it is over
        started = time.perf_counter()
        _record(ledger, (uuid4() for _ in range(BATCH)))
        took = time.perf_counter() - started
        yield took
        if not going_on():
            return
        time.sleep(max(0.0, PAUSE - took))


def _record(ledger: Ledger, ids: Iterable[object]) -> None:
    now = time.time()
    ledger.record(judged(*ids, at=now, sent_at=now - 1))


def _row(name: str, rounds: Sequence[Sequence[float]], pruned: Cell) -> list[Cell]:
    parts = (Spread.of([1000 * quantile(w, part) for w in rounds]) for part in (0.5, 0.99, 1.0))
    return [name, *parts, pruned]
