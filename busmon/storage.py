"""How the ledger is kept on disk: schema, values, lock, and every reason not to open it."""

import fcntl
import sqlite3
from hashlib import blake2b
from pathlib import Path
from typing import TextIO
from uuid import UUID

APPLICATION_ID = 0x6275736D  # "busm", in the file's header
VERSION = 1
SCHEMA = """
CREATE TABLE buses (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    queue TEXT,                                -- busmon's own, made once
    duplicates INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE series (
    id INTEGER PRIMARY KEY, bus INTEGER NOT NULL, topic TEXT NOT NULL,
    outcome TEXT NOT NULL, reason TEXT NOT NULL,
    messages INTEGER NOT NULL, last_received INTEGER NOT NULL, last_sent INTEGER,  -- ms
    UNIQUE (bus, topic, outcome, reason)
);
CREATE TABLE seen (                            -- oldest first, without a hole
    seq INTEGER PRIMARY KEY, bus INTEGER NOT NULL, id NOT NULL,
    series INTEGER NOT NULL, received_at INTEGER NOT NULL, sent_at INTEGER         -- ms
);
CREATE UNIQUE INDEX seen_id ON seen (id, bus);
CREATE TABLE hours (                           -- by Unix time / 3600
    hour INTEGER NOT NULL, series INTEGER NOT NULL, messages INTEGER NOT NULL,
    PRIMARY KEY (hour, series)
) WITHOUT ROWID;
"""


class LedgerError(Exception):
    """The ledger can't be opened; the text says why and what to do."""


def open_ledger(path: str) -> tuple[sqlite3.Connection, TextIO | None]:
    """Open the file, made if missing, and its lock; ":memory:" has none. Raises LedgerError."""
    lock = None if path == ":memory:" else _lock(Path(path))
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        _check(db, path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        if not db.execute("PRAGMA user_version").fetchone()[0]:
            db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
    except sqlite3.DatabaseError as error:
        raise LedgerError(
            f"{path}: {error}; if the file is damaged, move it away: busmon starts a new one,"
            " with all counters at zero"
        ) from error
    return db, lock


def _check(db: sqlite3.Connection, path: str) -> None:
    """Refuse a file that is not a ledger, or a newer one."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != APPLICATION_ID:
        raise LedgerError(f"{path}: an SQLite file, but not a ledger of busmon")
    if version > VERSION:
        raise LedgerError(
            f"{path}: written by a newer busmon (schema {version}, this one knows {VERSION})"
        )
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _lock(path: Path) -> TextIO:
    """Take the lock beside the file: two processes on one ledger would count twice."""
    if not path.parent.is_dir():
        raise LedgerError(f"{path.parent}: no such directory; make it, writable for busmon")
    try:
        lock = Path(f"{path}.lock").open("w")  # noqa: SIM115 - held as long as the ledger
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LedgerError(f"{path}: in use by another busmon; each needs its own") from error
    except OSError as error:
        raise LedgerError(f"{path}: can't be written: {error.strerror}") from error
    return lock


def stored_id(identity: str) -> str | bytes:
    """Return the id as it is kept: 16 bytes for a UUID, else text, or a digest of a long one."""
    if len(identity) == 36:
        try:
            uuid = UUID(identity)
        except ValueError:
            return identity
        return uuid.bytes if str(uuid) == identity else identity
    if not identity.isascii() or len(identity) > 255:  # neither long nor a lone surrogate
        encoded = identity.encode(errors="backslashreplace")
        return encoded.decode() if len(encoded) <= 255 else blake2b(encoded).hexdigest()
    return identity


def milliseconds(seconds: float | None) -> int | None:
    """Return whole milliseconds, or None for a time that no clock shows."""
    if seconds is None or not abs(seconds) < 1e12:
        return None
    return int(seconds * 1000)


def seconds(milliseconds: int | None) -> float | None:
    """Return the seconds of whole milliseconds."""
    return None if milliseconds is None else milliseconds / 1000
