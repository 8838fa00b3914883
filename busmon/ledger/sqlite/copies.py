"""The copy of a ledger that is made before it is migrated."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from busmon.ledger.errors import LedgerError

SPARE_BYTES = 16 * 1024 * 1024  # disk space that a migration may take beside the copy


def copy_name(path: str, version: int) -> Path:
    """Return the name of the copy that a migration from this version leaves."""
    return Path(f"{path}.version-{version}")


def copy_before(db: sqlite3.Connection, path: str, version: int, newest: int) -> Path:
    """Copy the ledger beside itself; an unfinished copy never has the copy's name.

    Raises LedgerError if that fails.
    """
    copy = copy_name(path, version)
    unfinished = Path(f"{copy}.unfinished")
    try:
        _check_space(db, path)
        unfinished.unlink(missing_ok=True)
        unfinished.touch(0o600, exist_ok=False)  # follows no symbolic link
        with closing(sqlite3.connect(unfinished)) as target:
            # A journal would only be in the way: what was not finished is done again.
            target.execute("PRAGMA journal_mode = OFF")
            db.backup(target)
        _sync(unfinished)
        unfinished.rename(copy)
        _sync(copy.parent)
    except (OSError, sqlite3.Error) as error:
        unfinished.unlink(missing_ok=True)
        raise LedgerError(
            f"{path}: has version {version} and must be migrated to version {newest}, but"
            f" cannot be copied to {copy} before that: {error}; the ledger is unchanged"
        ) from error
    return copy


def _check_space(db: sqlite3.Connection, path: str) -> None:
    (pages,), (size,) = (
        db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
    )
    needed, free = pages * size + SPARE_BYTES, shutil.disk_usage(Path(path).parent).free
    if free < needed:
        raise OSError(f"it takes {needed >> 20} MiB and only {free >> 20} MiB are free")


def _sync(place: Path) -> None:
    """Have a file, or the names in a directory, on disk."""
    file = os.open(place, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
