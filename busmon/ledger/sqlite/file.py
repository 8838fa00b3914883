"""The ledger's file: how it is opened and locked, and every reason not to use it."""

import fcntl
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from urllib.parse import quote

from busmon.ledger.errors import LedgerError, LedgerInUseError, TooSlow
from busmon.ledger.sqlite import ownership
from busmon.ledger.sqlite.migrations import (
    APPLICATION_ID,
    VERSION,
    create,
    explain_newer,
    lacking,
    migrate,
)
from busmon.ledger.tables import Tables

# The write-ahead log is copied into the file when it has this number of pages. It is a tenth faster
# than with SQLite's 1,000: ids are random, so a page of their index changes several times before.
CHECKPOINT_PAGES = 4_000
LOG_KEPT_BYTES = 16 * 1024**2  # of it, once all of it is copied: what CHECKPOINT_PAGES take
CACHE_KIB = 1_000  # half of SQLite's default; it makes a large batch a tenth slower
BUSY_TIMEOUT = 2.0  # seconds to wait while another program writes; shorter than busmon's stop
PROGRESS_STEPS = 10_000  # of SQLite's machine, between two looks at the time: below a millisecond
DAMAGE_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
HINTS = {  # SQLite's own texts do not say what to do
    sqlite3.SQLITE_READONLY: "busmon needs to write to the file and to its directory",
    sqlite3.SQLITE_CANTOPEN: "busmon needs to write to the file and to its directory",
    sqlite3.SQLITE_IOERR: "is the disk full, or failing?",
}
START_ANEW = "busmon starts a new one, with all counters at zero"


@contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """Open the file and hold its lock. A missing file is created, an older one is migrated.

    ":memory:" has no lock. Raises LedgerError, also for SQLite's errors inside the with statement.
    """
    with nullcontext() if path == ":memory:" else _locked(Path(path)), _explained(path):
        db = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        with closing(db):
            version = _version(db, path)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            db.execute(f"PRAGMA journal_size_limit = {LOG_KEPT_BYTES}")
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            if not version:
                create(db)
            elif version < VERSION:
                migrate(db, path, version)
            elif parts := lacking(db):
                raise LedgerError(
                    f"{path}: of version {VERSION}, but lacks {', '.join(sorted(parts))};"
                    f" restore a backup, or move it away: {START_ANEW}"
                )
            yield db


def used_bytes(db: sqlite3.Connection) -> int:
    """Return how many bytes of the file are in use."""
    pragmas = ("page_count", "freelist_count", "page_size")
    pages, free, size = (db.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas)
    return int((pages - free) * size)


def checkpoint(db: sqlite3.Connection) -> bool:
    """Copy the write-ahead log into the file and empty it; return whether that was possible.

    It is not while somebody reads what is in the log. This does not wait for them.
    """
    db.execute("PRAGMA busy_timeout = 0")
    try:
        busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")
    return not busy


class Files:
    """The files of an open ledger, which other programs can remove or damage.

    What is written to a removed or damaged file is lost at the next start.
    """

    def __init__(self, path: str) -> None:
        names = () if path == ":memory:" else (path, f"{path}-wal", f"{path}.lock")
        self._files = {(file := Path(name)): _identity(file) for name in names}
        self._damage: str | None = None
        self._log = Path(f"{path}-wal")

    def problem(self) -> str | None:
        """Return why nothing may be written, or None. This takes some microseconds."""
        for file, identity in self._files.items():
            if _identity(file) != identity:
                return f"{file} was removed or replaced; put it back, or restart busmon"
        return self._damage

    def log_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def explain(self, error: sqlite3.Error) -> str:
        """Return what an error says. Damage is remembered, because it stays."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE_CODES:
            self._damage = f"damaged: {error}; stop busmon and move its files away: {START_ANEW}"
            return self._damage
        return str(error)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def open_read_only(path: str, seconds: float | None = None) -> Iterator[Tables]:
    """Open a ledger for reading, whether a busmon writes it or not. What is read is of one moment.

    Raises LedgerError, also for SQLite's errors inside the with statement: TooSlow for a query
    that is not done so many seconds from now.
    """
    _check_readable(path)
    with _reading(path, seconds) as db:
        yield Tables(db)


@contextmanager
def reserved(path: str) -> Iterator[sqlite3.Connection]:
    """Open a ledger for reading, and let no busmon write it meanwhile.

    Raises LedgerError, also for SQLite's errors inside the with statement.
    """
    _check_readable(path)
    with _locked(Path(path)), _reading(path) as db:
        yield db


def written_at(path: str) -> str:
    """Return what changes whenever a ledger is written."""
    files = (Path(path), Path(f"{path}-wal"))
    found = [file.stat() for file in files if file.exists() and file.stat().st_size]
    return " ".join(f"{one.st_size} {one.st_mtime_ns}" for one in found)


def _check_readable(path: str) -> None:
    try:
        if not Path(path).exists():
            raise LedgerError(f"{path}: no such ledger")
        ownership.check(path, reading=True)
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read: {error.strerror}") from error


@contextmanager
def _reading(path: str, seconds: float | None = None) -> Iterator[sqlite3.Connection]:
    with _explained(path):
        uri = f"file:{quote(path)}?mode=ro"
        db = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
        with closing(db):
            version = _version(db, path)
            if not version:
                raise LedgerError(f"{path}: not a ledger of busmon")
            if version < VERSION:
                raise LedgerError(
                    f"{path}: written by an older busmon (ledger version {version}, this one reads"
                    f" version {VERSION}); start `busmon run` with it once, which migrates it"
                )
            if seconds is not None:
                end = time.monotonic() + seconds
                db.set_progress_handler(lambda: time.monotonic() > end, PROGRESS_STEPS)
            db.execute("BEGIN")  # so all that is read is of one moment
            yield db


def _version(db: sqlite3.Connection, path: str) -> int:
    """Return the ledger's version, 0 for an empty file. Raise LedgerError for any other file."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise LedgerError(f"{path}: an SQLite file, but not a ledger of busmon")
    if version > VERSION:
        raise LedgerError(explain_newer(db, path, version))
    return int(version)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn SQLite's errors into texts that say what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            raise TooSlow(f"{path}: reading takes too long") from error
        hint = HINTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        text = f"{error}; {hint}" if hint else str(error)
        raise LedgerError(f"{path}: cannot be opened: {text}") from error
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
            text = "not a ledger of busmon, or damaged at its beginning; name another file, or"
        else:
            text = f"damaged: {error};"
        raise LedgerError(f"{path}: {text} move it away: {START_ANEW}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock beside the file. Two processes with one ledger would count twice."""
    try:
        if not path.parent.is_dir():
            raise LedgerError(f"{path.parent}: no such directory; make it, writable for busmon")
        beside = Path(f"{path}.lock")
        ownership.check(str(path))
        for file in (path, beside):  # SQLite's other files get the mode of the first
            ownership.create(file)
        ownership.check(str(path))  # again: somebody may have been faster
        lock = beside.open("a")
    except OSError as error:
        raise LedgerError(f"{path}: cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LedgerInUseError(str(path)) from error
        yield
