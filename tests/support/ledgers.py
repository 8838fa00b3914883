"""What the tests of the ledger share, and a process with a ledger of its own.

`python -m tests.support.ledgers LEDGER` can be killed or run out of space. Each input line is
`record ID…`, a batch; `queue BUS`; or `limit BYTES`, the size that its files may have from
now on (-1: any). The first two are answered by one line.
"""

import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from busmon.ledger.batch import Observation, Series
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.settings.models import LedgerSettings
from busmon.settings.postgresql import Database

NOW = 1_790_000_000.0
HANDLED = Series("fedora", "a.topic", "handled", "")


def judged(*ids: object, at: float = NOW, bus: str = "fedora", **fields: Any) -> list[Observation]:
    """Return an observation for each id, all handled."""
    series = HANDLED._replace(bus=bus)
    return [Observation(series, str(i), at, **fields) for i in ids]


def database_at(url: str, **settings: object) -> Database:
    """Return the database that `url` in [ledger] names."""
    place = LedgerSettings.model_validate({"url": url} | settings).place()
    assert isinstance(place, Database)
    return place


def counted(ledger: Ledger) -> int:
    return sum(count.messages for count in ledger.counts().values())


@contextmanager
def unwritable(path: str | Path) -> Iterator[None]:
    """Let nothing be written meanwhile: one of the files of the ledger is moved away."""
    lock = Path(f"{path}.lock")
    elsewhere = lock.rename(f"{lock}.elsewhere")
    try:
        yield
    finally:
        elsewhere.rename(lock)


def main() -> None:
    ledger = Ledger(sys.argv[1])
    for line in sys.stdin:
        command, *words = line.split()
        if command == "limit":
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(words[0]), hard))
            continue
        try:
            print(ledger.own_queue(*words) if command == "queue" else record(ledger, words))
        except LedgerWriteError as error:
            print(f"not recorded: {error} | {ledger.problem()} | counted {counted(ledger)}")
        sys.stdout.flush()


def record(ledger: Ledger, ids: Sequence[str]) -> str:
    recorded = ledger.record(judged(*ids))
    return f"recorded {len(recorded.new)}, problem {ledger.problem()}"


if __name__ == "__main__":
    main()
