"""A ledger with a long past, made in seconds: rows by the million, and hourly sums of months."""

from collections.abc import Mapping
from pathlib import Path

from busmon.ledger.batch import Observation, Series
from busmon.ledger.ledger import Ledger
from tests.ledger.sql import foreign
from tests.support.ledgers import judged

BUS = "past"
RANGE = 1 << 128  # of a UUID
STRIDE = 611_953  # a prime, thus through all rows of any smaller number, here and there
FILL = """
INSERT INTO messages (bus, id, series, received_at, sent_at)
WITH RECURSIVE row (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row LIMIT :rows - 1)
SELECT 1, id(n), 1, :since + n * :step, :since + n * :step - 400 FROM row
"""


def with_past(
    path: Path, rows: int, since: float, until: float, *, scattered: bool = False
) -> Path:
    """Make a ledger of `rows` messages on the bus BUS, received between these Unix times.

    Their ids spread as random ones do, but come in order, so that a million takes seconds;
    unless `scattered`, for what is to be forgotten one after the other.
    """
    ledger = Ledger(str(path))
    ledger.record(judged("first", at=since, bus=BUS))
    ledger.close()
    step = RANGE // rows
    stride = STRIDE if scattered else 1
    times = {"since": int(since * 1000), "step": int((until - since) * 1000 / rows)}
    with foreign(path) as db:
        db.create_function("id", 1, lambda n: (n * stride % rows * step).to_bytes(16, "big"))
        db.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000"
        )
        db.execute(FILL, {"rows": rows} | times)
        # They are in no counter, so that a test sees only what is counted after them.
        db.execute("UPDATE buses SET pruned = ?", (1 - rows,))
        db.execute("PRAGMA journal_mode = WAL")
    return path


def past(ledger: Ledger, series: Series, hours: Mapping[int, int], last: float) -> None:
    """Let so many messages have come in each hour (of Unix time), the last at `last`."""
    ledger.record([Observation(series, series.topic, last)])
    with ledger.write() as tables:
        db = tables.hourly_sums._db  # noqa: SLF001 - to record them one by one takes minutes
        (number,) = db.execute(
            "SELECT series.id FROM series JOIN buses ON buses.id = bus"
            " WHERE (name, topic, outcome, reason) = (?, ?, ?, ?)",
            series,
        ).fetchone()
        db.executemany(
            "INSERT INTO hourly_sums (hour, series, messages) VALUES (?, ?, ?)"
            " ON CONFLICT (hour, series) DO UPDATE SET messages = excluded.messages",
            [(hour, number, messages) for hour, messages in hours.items() if messages],
        )
