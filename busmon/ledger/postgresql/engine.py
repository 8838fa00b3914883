"""The ledger in the schema `busmon` of a PostgreSQL database.

One transaction writes at a time, as with SQLite, whoever begins it: each takes the same lock
first. So the numbers of messages are in the order in which they are committed. See `lead` for
what else holds with several.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from uuid import uuid4
from weakref import WeakSet

import psycopg

from busmon.ledger.engine import Members
from busmon.ledger.errors import LedgerError, LedgerUnreachable, LedgerWriteError, TooSlow
from busmon.ledger.postgresql import durability, lead
from busmon.ledger.postgresql.answers import NoAnswer
from busmon.ledger.postgresql.connection import WRITING, PostgresConnection, TooLate
from busmon.ledger.postgresql.errors import REMOVED, explain, may_pass
from busmon.ledger.postgresql.schema import NAME
from busmon.ledger.postgresql.versions import check, create, is_new
from busmon.ledger.tables import Tables
from busmon.settings.postgresql import Database

LOCK_SECONDS = 5  # to wait while another process writes
WRITE_SECONDS = 30  # for one statement
READ_SECONDS = 600  # for a statement that may take long
PATIENCE = LOCK_SECONDS + WRITE_SECONDS  # for an answer; the server gives up before
READ_MEMBERS_SECONDS = 1.0
# Between two statements; then the server ends a process that hangs with the lock. It is less than
# the 15 s after which another one leads, whatever the leader is in the middle of.
IDLE_SECONDS = 10
TRIAL_BYTES = 4 * 1024**2  # about what a batch of 500 messages takes in a large ledger
# A transaction of another isolation level would not see what was written while it waited.
BEGIN = f"""
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL search_path = {NAME}, pg_temp; SET LOCAL synchronous_commit = on;
SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; SET LOCAL statement_timeout = '{WRITE_SECONDS}s';
SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s';
SELECT pg_advisory_xact_lock({WRITING})"""
BEGIN_READING = f"""
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = {NAME}, pg_temp;
SET LOCAL statement_timeout = {{milliseconds}}
"""
TRIAL = f"""
SAVEPOINT trial; CREATE TABLE {NAME}.trial (filler text);
INSERT INTO {NAME}.trial SELECT repeat('x', 1900) FROM generate_series(1, {TRIAL_BYTES // 1900});
ROLLBACK TO trial; UPDATE versions SET busmon = busmon
"""  # noqa: S608 - our own name
IDLE_READERS = 4  # connections that are kept open


class PostgresEngine:
    """The ledger in a database, whose tables are made if the database has none.

    It leads, or raises LedgerInUseError; with `follows` it does not lead.
    """

    shared = True

    def __init__(self, database: Database, *, follows: bool = False) -> None:
        self.name = str(database)
        self._database, self._follows = database, follows
        self._replica, self._led = str(uuid4()), False
        self._warning: str | None = None
        self._confirmed: PostgresConnection | None = None  # over which it is known to lead
        self._idle: list[PostgresConnection] = []
        self._connections: WeakSet[PostgresConnection] = WeakSet()
        self._pool = threading.Lock()
        self._closed = False
        with explained(self.name):
            self._writer: PostgresConnection | None = self._new_writer(first=True)
            self._confirm(self._writer)

    def close(self) -> None:
        """Close all connections."""
        with self._pool:
            self._closed = True
            idle, self._idle = self._idle, []
        for db in (*idle, *filter(None, [self._writer])):
            db.of_server.close()
        self._writer = None

    def give_up(self) -> None:
        """Let what is in progress fail now, if the server does not answer it; write no more."""
        with self._pool:
            self._closed = True
            for db in self._connections:
                db.of_server.given_up = True

    @contextmanager
    def transaction(self) -> Iterator[Tables]:
        """Write all or nothing; raise LedgerWriteError if it is nothing."""
        with self._writing() as db:
            yield Tables(db)

    @contextmanager
    def read(self, seconds: float | None) -> Iterator[Tables]:
        """Read beside the writer."""
        with self._reading(seconds) as db:
            yield Tables(db)

    @contextmanager
    def _reading(self, seconds: float | None) -> Iterator[PostgresConnection]:
        """Yield a connection that no other thread uses meanwhile, in a transaction."""
        with explained(self.name):
            with self._pool:
                db = self._idle.pop() if self._idle else None
            try:
                if db is None or not _begin_reading(db, seconds):
                    db = self._new_connection()
                    _begin_reading(db, seconds)
                with _ended(db):
                    yield db
            finally:
                if db:
                    self._put_back(db)

    def members(self) -> Members:
        """Return who has the ledger; raise LedgerError."""
        with self._reading(READ_MEMBERS_SECONDS) as db:
            return lead.members(db, self._replica)

    def announce(self, url: str) -> None:
        """Write where it answers."""
        with self._writing() as db:
            lead.announce(db, url)

    def problem(self) -> str | None:
        """Return None: only a transaction shows what is wrong."""
        return None

    def warning(self) -> str | None:
        """Return which settings of the server endanger that which is written."""
        return self._warning

    def check_room(self) -> None:
        """Make a table with `TRIAL_BYTES`, and undo it."""
        if self._writer:
            self._writer.run(TRIAL)

    def erasing(self) -> AbstractContextManager[None]:
        """Overwrite nothing: PostgreSQL keeps what is deleted until it has vacuumed."""
        return nullcontext()

    def used_bytes(self, tables: Tables) -> int:
        """Return how many bytes the rows and indexes take, without what can be used again."""
        return sum(tables.shares.bytes().values())

    def log_bytes(self) -> int:
        """Return 0: the log is the server's."""
        return 0

    def empty_log(self) -> None:
        """Do nothing: the log is the server's."""

    def _new_connection(self, *, new: bool = False) -> PostgresConnection:
        db = connected(self._database, new=new)
        with self._pool:
            self._connections.add(db)
        return db

    def _new_writer(self, *, first: bool = False) -> PostgresConnection:
        """Return a connection that may write; if it is the `first`, the tables may be made."""
        db = self._new_connection(new=True)
        try:
            if is_new(db):
                if not first:
                    raise LedgerError(f"{self.name}: {REMOVED}")
                create(db)
            db.types = check(db, self.name)
            self._warning = durability.warning(db)
            lead.join(db)
            db.of_server.patience = PATIENCE
            if not self._follows:
                lead.take_lead(db, self.name, self._replica if self._led else None)
        except BaseException:
            db.of_server.close()
            raise
        return db

    def _confirm(self, db: PostgresConnection) -> None:
        """Write that it leads, over a new connection; but not if another one did meanwhile."""
        if self._follows or db is self._confirmed:
            return
        try:
            lead.confirm(db, self._replica, led=self._led)
        except (LedgerWriteError, psycopg.Error):  # let another one have the lead
            db.of_server.close()
            raise
        self._led, self._confirmed = True, db

    @contextmanager
    def _writing(self) -> Iterator[PostgresConnection]:
        """Yield the writer's connection in a transaction; raise LedgerWriteError."""
        try:
            db = self._begun()
            with _ended(db):
                yield db
                db.run("COMMIT")
        except psycopg.Error as error:
            raise LedgerWriteError(explain(error)) from error

    def _begun(self) -> PostgresConnection:
        """Return the writer's connection in a new transaction, with the lock."""
        if self._closed:
            raise LedgerWriteError("the ledger is closed")
        if self._writer:
            try:
                return self._begin(self._writer)
            except psycopg.Error:
                # Nothing was written. If the server was restarted, a new connection will do.
                if not self._writer.of_server.closed:
                    raise
                self._writer = None
        try:
            self._writer = self._new_writer()
        except LedgerError as error:
            raise LedgerWriteError(str(error).removeprefix(f"{self.name}: ")) from error
        return self._begin(self._writer)

    def _begin(self, db: PostgresConnection) -> PostgresConnection:
        self._confirm(db)
        try:
            db.lock(BEGIN)
        except psycopg.Error:
            db.roll_back()
            raise
        return db

    def _put_back(self, db: PostgresConnection) -> None:
        usable = not db.of_server.pgconn.transaction_status  # else it is broken, or did not begin
        with self._pool:
            if usable and not self._closed and len(self._idle) < IDLE_READERS:
                self._idle.append(db)
                return
        db.of_server.close()


@contextmanager
def open_read_only(database: Database, seconds: float | None = None) -> Iterator[Tables]:
    """Open a ledger for reading; see `engines.open_read_only`."""
    with explained(str(database)):
        db = connected(database)
        with db.of_server:
            _begin_reading(db, seconds)
            with _ended(db):
                yield Tables(db)


def connected(database: Database, *, new: bool = False) -> PostgresConnection:
    """Return a connection to a ledger of this version; with `new` it may lack its tables."""
    db = PostgresConnection(database.parameters)
    try:
        if not new:
            db.types = check(db, str(database))
    except BaseException:
        db.of_server.close()
        raise
    return db


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn PostgreSQL's errors into texts that say what to do."""
    try:
        yield
    except (TooLate, psycopg.errors.QueryCanceled) as error:
        raise TooSlow(f"{name}: reading takes too long") from error
    except psycopg.Error as error:
        kind = LedgerUnreachable if may_pass(error) else LedgerError
        raise kind(f"{name}: {explain(error)}") from error


def _begin_reading(db: PostgresConnection, seconds: float | None) -> bool:
    """Begin a transaction; return False if the connection is broken."""
    db.deadline = None if seconds is None else time.monotonic() + seconds
    # The server ends a statement before that, if it works.
    db.of_server.patience = 1 + (READ_SECONDS if seconds is None else seconds)
    try:
        limit = max(1, round(1000 * (READ_SECONDS if seconds is None else seconds)))
        db.run(BEGIN_READING.format(milliseconds=limit))
    except NoAnswer:
        raise
    except psycopg.OperationalError:
        if not db.of_server.closed:
            raise
        return False
    return True


@contextmanager
def _ended(db: PostgresConnection) -> Iterator[None]:
    try:
        yield
    finally:
        db.roll_back()
