"""The ledger in one SQLite file, in WAL mode with `synchronous=FULL`."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.sqlite.file import Files, checkpoint, open_read_only, opened, used_bytes
from busmon.ledger.tables import Tables
from busmon.problem_log import ProblemLog

MAX_LOG_BYTES = 64 * 1024**2  # of the write-ahead log; then it is reported
TRIAL_BYTES = 4 * 1024**2  # about what a batch of 500 messages takes in a large ledger
SECURE = "PRAGMA secure_delete"  # 1: SQLite overwrites what it deletes; some builds do so always

log = logging.getLogger(__name__)


class SqliteEngine:
    """The ledger at `path`, which is created if missing; ":memory:" keeps nothing."""

    shared = False

    def __init__(self, path: str) -> None:
        self.name = path
        self._log_problems = ProblemLog(log)  # that the write-ahead log is too large
        with ExitStack() as file:
            self._db = file.enter_context(opened(path))
            self._tables = Tables(self._db)
            self._files = Files(path)
            self._file = file.pop_all()

    def give_up(self) -> None:
        """Do nothing: a disk that hangs can hold up any write."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def transaction(self) -> Iterator[Tables]:
        """Write all or nothing; raise LedgerWriteError if it is nothing."""
        with self._explained(), self._db:  # commits, or rolls back
            self._db.execute("BEGIN IMMEDIATE")
            yield self._tables
            if lost := self._files.problem():
                raise LedgerWriteError(lost)

    def read(self, seconds: float | None) -> AbstractContextManager[Tables]:
        """Read beside the writer. A ledger in memory cannot be read so."""
        return open_read_only(self.name, seconds)

    def members(self) -> None:
        """Return nothing: a file is of one busmon only."""

    def announce(self, url: str) -> None:
        """Do nothing."""

    def problem(self) -> str | None:
        """Return why nothing may be written: a file was removed, replaced or found damaged."""
        return self._files.problem()

    def warning(self) -> str | None:
        """Return None: busmon makes all settings of the database itself."""
        return None

    def check_room(self) -> None:
        """Write `TRIAL_BYTES`, and undo it. What follows is committed: at least one page."""
        self._db.execute("SAVEPOINT trial")
        self._db.execute(
            "INSERT INTO versions (version, busmon) VALUES (0, zeroblob(?))", (TRIAL_BYTES,)
        )
        self._db.execute("ROLLBACK TO trial")
        self._db.execute("RELEASE trial")
        self._db.execute("UPDATE versions SET busmon = busmon")  # the same again, but written

    @contextmanager
    def erasing(self) -> Iterator[None]:
        """Overwrite in the file what is deleted. A copy of the file still has it."""
        (before,) = self._db.execute(SECURE).fetchone()
        self._db.execute(f"{SECURE} = 1")
        try:
            yield
        finally:
            self._db.execute(f"{SECURE} = {before}")

    def used_bytes(self, _: Tables) -> int:
        """Return how many bytes of the file are in use."""
        return used_bytes(self._db)

    def log_bytes(self) -> int:
        """Return the bytes of the write-ahead log."""
        return self._files.log_bytes()

    def empty_log(self) -> None:
        """Empty the write-ahead log, unless another program reads it; raise LedgerWriteError."""
        with self._explained():
            emptied = checkpoint(self._db)
        if emptied:
            self._log_problems.solved()
        elif self._files.log_bytes() > MAX_LOG_BYTES:
            self._log_problems.problem(
                f"{self.name}-wal: has more than {MAX_LOG_BYTES >> 20} MiB, because another"
                " program reads the ledger for a long time; end it, or the disk fills up"
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerWriteError(self._files.explain(error)) from error
