"""The ledger by itself: bytes a row, and how long counting waits while rows are pruned."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from uuid import uuid4

from busmon.ledger import PRUNED_AT_ONCE, Ledger
from busmon.service import BREATH
from tests.bench import Options
from tests.bench.measure import Cell, Table, quantile
from tests.bench.rows import with_past
from tests.ledgers import judged

RECORDED = 200_000  # messages for the bytes a row
PAST = 1_000_000
BATCH = 50
PAUSE = 0.025  # seconds between two batches: 2,000 messages a second
QUIET = 20.0  # seconds of counting without pruning, to compare with
DAY = 86_400.0


def run(options: Options) -> list[Table]:
    """Measure both."""
    return [_bytes_a_row(options), _pruning(options)]


def _bytes_a_row(options: Options) -> Table:
    rows = options.size(RECORDED)
    path = options.directory / "recorded.sqlite"
    ledger = Ledger(str(path))
    for _ in range(0, rows, BATCH):
        _record(ledger)
    ledger.close()
    title, columns = "Ledger: size", ["rows", "bytes a row, with its indexes"]
    note = "Messages with a UUID, as on Fedora's bus. Aim: at most 120."
    return Table(
        title=title, columns=columns, rows=[[rows, path.stat().st_size / rows]], notes=[note]
    )


def _pruning(options: Options) -> Table:
    past = options.size(PAST)
    now = time.time()
    path = options.directory / "pruned.sqlite"
    with_past(path, past, now - 9 * DAY, now - 8 * DAY, scattered=True)
    ledger = Ledger(str(path))
    end = time.monotonic() + QUIET * min(1.0, options.scale)
    quiet = sorted(_waits(ledger, lambda: time.monotonic() < end))
    pruner = threading.Thread(target=_prune, args=(ledger,))
    started = time.monotonic()
    pruner.start()
    pruning = sorted(_waits(ledger, pruner.is_alive))
    removed = past / (time.monotonic() - started)
    ledger.close()
    return Table(
        title=f"Ledger: batches of {BATCH} while {past:,} old rows are pruned",
        columns=["", "batches", "median, ms", "99 %, ms", "longest, ms", "rows pruned a second"],
        rows=[_row("not pruning", quiet, "none"), _row("pruning", pruning, removed)],
        notes=[
            f"The time of a `record`, waiting included; {BATCH / PAUSE:,.0f} messages a second."
            f" Pruned as the service does: {PRUNED_AT_ONCE} rows at once,"
            f" {BREATH * 1000:.0f} ms between. Aim: the longest below 100 ms.",
        ],
    )


def _prune(ledger: Ledger) -> None:
    while ledger.prune(time.time(), 7 * DAY, 1 << 40):
        time.sleep(BREATH)


def _waits(ledger: Ledger, going_on: Callable[[], bool]) -> Iterator[float]:
    """Record batches and yield how long each took, in seconds."""
    while going_on():
        started = time.perf_counter()
        _record(ledger)
        took = time.perf_counter() - started
        yield took
        time.sleep(max(0.0, PAUSE - took))


def _record(ledger: Ledger) -> None:
    now = time.time()
    ledger.record(judged(*(uuid4() for _ in range(BATCH)), at=now, sent_at=now - 1))


def _row(name: str, waits: Sequence[float], pruned: Cell) -> list[Cell]:
    return [name, len(waits), *(1000 * quantile(waits, p) for p in (0.5, 0.99, 1.0)), pruned]
