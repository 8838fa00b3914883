"""A ledger of version 1, and what a ledger's file contains."""

import gzip
import json
from pathlib import Path
from typing import Any

from tests.ledger.sql import foreign

# A ledger that the last busmon of version 1 wrote by its own classes, fed with a quarter of an
# hour of made-up traffic: four buses, with UUIDs, digests, and ids that are too long or odd;
# messages delivered again; reports of a tap, some late, some missing; events of workers; a
# listener compared by numbers, which restarts and loses messages; times without data; pruning.
# Each table has rows. Beside it is what that busmon's own commands and counters say of it.
SAMPLE = Path(__file__).with_name("version-1.sqlite.gz")
EXPECTED = json.loads(Path(__file__).with_name("version-1.json").read_text())


def write_sample(directory: Path) -> str:
    """Write the sample into a directory; return its path."""
    file = directory / "ledger.sqlite"
    file.write_bytes(gzip.decompress(SAMPLE.read_bytes()))
    return str(file)


def version(path: str | Path) -> int:
    with foreign(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (found,) = db.execute("PRAGMA user_version").fetchone()
    return int(found)


def contents(path: str | Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows by table."""
    with foreign(path) as db:
        tables = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        return {name: sorted(db.execute(f"SELECT * FROM {name}"), key=repr) for (name,) in tables}


def schema(path: str | Path) -> set[tuple[Any, ...]]:
    """Return all columns of tables and indexes, with their types and defaults; all triggers."""
    query = "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'index')"
    with foreign(path) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        return set(triggers) | {
            (name, *column)
            for kind, name in db.execute(query).fetchall()
            for column in db.execute(f"PRAGMA {kind}_xinfo({name})").fetchall()
        }
