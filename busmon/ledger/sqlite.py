"""How the ledger is kept on disk: schema, values, lock, and every reason not to open it."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from urllib.parse import quote

from busmon.ledger.tables import Tables

APPLICATION_ID = 0x6275736D  # "busm", in the file's header
VERSION = 1
# Pages in the write-ahead log until they go to their places: a tenth faster than with SQLite's
# 1,000, since ids are random, and a page of their index changes again before it goes.
CHECKPOINT = 4_000
CACHE = 1_000  # KiB of pages, half of SQLite's own: a large batch takes a tenth longer
BUSY = 2.0  # seconds to wait while another program writes; fewer than those in which busmon stops
DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
ANEW = "busmon starts a new one, with all counters at zero"
SCHEMA = """
CREATE TABLE buses (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    queue TEXT,                                -- busmon's own, made once
    duplicates INTEGER NOT NULL DEFAULT 0,
    watched INTEGER,                           -- ms, until when it is known to have been received
    blind INTEGER NOT NULL DEFAULT 0           -- ms in all
);
CREATE TABLE series (
    id INTEGER PRIMARY KEY, bus INTEGER NOT NULL, topic TEXT NOT NULL,
    outcome TEXT NOT NULL, reason TEXT NOT NULL,
    messages INTEGER NOT NULL DEFAULT 0, last_received INTEGER, last_sent INTEGER,  -- ms
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
CREATE INDEX seen_at ON seen (received_at);
CREATE TABLE blind (                           -- when busmon did not receive from a bus
    bus INTEGER NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,          -- ms
    PRIMARY KEY (bus, since)
) WITHOUT ROWID;
CREATE TABLE pauses (                          -- the longest of a topic that ended on a day,
    bus INTEGER NOT NULL, topic TEXT NOT NULL, -- by Unix time / 86400
    day INTEGER NOT NULL, expected REAL NOT NULL,  -- messages that should have come meanwhile
    PRIMARY KEY (bus, topic, day)
) WITHOUT ROWID;
CREATE TABLE observed (                        -- when an observer (tap, ready, celery) did see
    observer TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,        -- ms
    PRIMARY KEY (observer, since)
) WITHOUT ROWID;
CREATE TABLE reports (                         -- what the listener did, by its tap
    bus INTEGER NOT NULL, id NOT NULL, topic TEXT NOT NULL,
    state TEXT NOT NULL,                       -- passed, dropped or raised
    task TEXT, reported_at INTEGER NOT NULL,                                       -- ms
    PRIMARY KEY (id, bus)
) WITHOUT ROWID;
CREATE INDEX reports_task ON reports (task) WHERE task IS NOT NULL;
CREATE INDEX reports_at ON reports (reported_at);
CREATE TABLE listener (                        -- the totals of the listener's own monitor
    bus TEXT NOT NULL, state TEXT NOT NULL,
    last INTEGER NOT NULL,                     -- as it said, since its last start
    total INTEGER NOT NULL,                    -- over its restarts
    PRIMARY KEY (bus, state)
) WITHOUT ROWID;
CREATE TABLE polls (                           -- each answer of that monitor
    polled_at INTEGER NOT NULL, bus TEXT NOT NULL,                                 -- ms
    received INTEGER NOT NULL,                 -- as it said, since its last start
    restarts INTEGER NOT NULL,                 -- until then
    PRIMARY KEY (polled_at, bus)
) WITHOUT ROWID;
CREATE TABLE tasks (                           -- what the workers did, by Celery's events
    id TEXT PRIMARY KEY, name TEXT NOT NULL,
    state TEXT NOT NULL,                       -- received, started, retried, succeeded or failed
    received_at INTEGER, started_at INTEGER, finished_at INTEGER, retries INTEGER NOT NULL  -- ms
) WITHOUT ROWID;
CREATE INDEX tasks_received ON tasks (received_at);
CREATE TABLE windows (                         -- the closed books; without a row: nothing was
    start INTEGER NOT NULL, until INTEGER NOT NULL, bus INTEGER NOT NULL,          -- ms
    topic TEXT NOT NULL,                       -- empty where there is no data: for the whole bus
    stage TEXT NOT NULL,                         -- bus, listener or worker
    messages INTEGER,                          -- NULL: no data, the observer was down
    missing INTEGER NOT NULL, unexpected INTEGER NOT NULL, recovered INTEGER NOT NULL,
    exact INTEGER NOT NULL,                    -- 1: by ids, 0: by counts
    PRIMARY KEY (start, bus, topic, stage)
) WITHOUT ROWID;
CREATE TABLE missing (                         -- the messages behind windows.missing
    bus INTEGER NOT NULL, id NOT NULL, stage TEXT NOT NULL,
    topic TEXT NOT NULL, start INTEGER NOT NULL, recovered_at INTEGER,             -- ms
    PRIMARY KEY (id, bus, stage)
) WITHOUT ROWID;
CREATE INDEX missing_at ON missing (start);
CREATE TABLE running (                         -- of closed windows, what workers still have
    bus INTEGER NOT NULL, id NOT NULL, topic TEXT NOT NULL, start INTEGER NOT NULL,
    due INTEGER NOT NULL,                      -- ms, from when on it is missing
    PRIMARY KEY (id, bus)
) WITHOUT ROWID;
CREATE TABLE audited (                         -- all windows ever closed, summed up
    bus INTEGER NOT NULL, topic TEXT NOT NULL, stage TEXT NOT NULL,
    messages INTEGER NOT NULL DEFAULT 0, missing INTEGER NOT NULL DEFAULT 0,
    unexpected INTEGER NOT NULL DEFAULT 0, recovered INTEGER NOT NULL DEFAULT 0,
    no_data INTEGER NOT NULL DEFAULT 0,        -- windows, under an empty topic
    PRIMARY KEY (bus, topic, stage)
) WITHOUT ROWID;
CREATE TABLE closed (until INTEGER NOT NULL);  -- ms, one row: where the next window starts
"""


class LedgerError(Exception):
    """The ledger can't be opened; the text says why and what to do."""


@contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """Hold the file, made if missing, and its lock; ":memory:" has none.

    Raises LedgerError, and also for what SQLite raises inside the with statement.
    """
    with nullcontext() if path == ":memory:" else _locked(Path(path)), _explained(path):
        db = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        with closing(db):
            version = _version(db, path)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
            db.execute(f"PRAGMA cache_size = -{CACHE}")
            if not version:
                db.executescript(
                    f"BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
                    f" PRAGMA user_version = {VERSION}; COMMIT"
                )
            yield db


def used_bytes(db: sqlite3.Connection) -> int:
    """Return how many bytes of the file are in use."""
    pragmas = ("page_count", "freelist_count", "page_size")
    pages, free, size = (db.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas)
    return int((pages - free) * size)


class Files:
    """The files of an open ledger, which others may remove or damage behind its back.

    What is written to a file without a name, or beyond damage, is gone after the next start.
    """

    def __init__(self, path: str) -> None:
        names = () if path == ":memory:" else (path, f"{path}-wal", f"{path}.lock")
        self._files = {(file := Path(name)): _identity(file) for name in names}
        self._damage: str | None = None

    def problem(self) -> str | None:
        """Return why nothing may be written, or None; costs some microseconds."""
        for file, identity in self._files.items():
            if _identity(file) != identity:
                return f"{file} was removed or replaced; put it back, or restart busmon"
        return self._damage

    def explain(self, error: sqlite3.Error) -> str:
        """Return what an error says; damage is remembered, since it does not heal."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE:
            self._damage = f"damaged: {error}; stop busmon and move its files away: {ANEW}"
            return self._damage
        return str(error)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def open_read_only(path: str) -> Iterator[Tables]:
    """Open a ledger for reading beside the busmon that writes it, or without one.

    Raises LedgerError, and also for what SQLite raises inside the with statement.
    """
    if not Path(path).is_file():
        raise LedgerError(f"{path}: no such ledger")
    with _explained(path):
        name = f"file:{quote(path)}?mode=ro"
        with closing(sqlite3.connect(name, uri=True, timeout=BUSY, isolation_level=None)) as db:
            if not _version(db, path):
                raise LedgerError(f"{path}: not a ledger of busmon")
            yield Tables(db)


def _version(db: sqlite3.Connection, path: str) -> int:
    """Return the file's schema version, 0 where it is new; refuse one that is not a ledger."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise LedgerError(f"{path}: an SQLite file, but not a ledger of busmon")
    if version > VERSION:
        raise LedgerError(
            f"{path}: written by a newer busmon (schema {version}, this one knows {VERSION})"
        )
    return int(version)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Say what to do in place of SQLite's own errors."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LedgerError(f"{path}: can't be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"{path}: damaged: {error}; move it away: {ANEW}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock beside the file: two processes on one ledger would count twice."""
    try:
        if not path.parent.is_dir():
            raise LedgerError(f"{path.parent}: no such directory; make it, writable for busmon")
        beside = Path(f"{path}.lock")
        for file in (path, beside):  # SQLite gives its other files the mode of the first
            file.touch(0o600)
        lock = beside.open("a")
    except OSError as error:
        raise LedgerError(f"{path}: can't be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LedgerError(f"{path}: in use by another busmon; each needs its own") from error
        yield
