"""A private PostgreSQL for ledgers: databases, users, TLS, a standby, and ways to break it."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import psycopg
import pytest

from busmon.ledger import known
from busmon.ledger.ledger import Ledger
from busmon.ledger.postgresql.connection import WRITING
from tests.support.brokers import timescaledb, wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.postgresql import USR, PostgreSQL
from tests.support.datagrepper import TIMESCALEDB
from tests.support.ledgers import database_at

ADMIN = "admin"  # its superuser
USER, PASSWORD = "busmon", "p4ss/word"
# With `make timescaledb`, PostgreSQL 17.
USR_OF_SERVER = timescaledb.USR if TIMESCALEDB in os.environ else USR
SETTINGS = {
    "full_page_writes": "off",  # the machine does not crash, only the server
    "max_wal_senders": "2",
    "hot_standby": "on",
    "max_connections": "60",
}
# The superuser is trusted, so that tests can break and repair anything.
ACCESS = f"""
local all {ADMIN} trust
host all,replication {ADMIN} 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""


class LedgerServer(PostgreSQL):
    """A PostgreSQL with TLS. `database` makes one; each is that of USER, who has PASSWORD."""

    def __init__(self, directory: Path, certificates: Certificates) -> None:
        certificate, key = (directory / f"server.{kind}" for kind in ("pem", "key"))
        for source, copy in zip(certificates.server, (certificate, key), strict=True):
            shutil.copy(source, copy)
            copy.chmod(0o600)
            if not os.geteuid():
                shutil.chown(copy, "postgres")
        super().__init__(directory, ADMIN, USR_OF_SERVER, SETTINGS)
        self._files = {"ssl_cert_file": certificate, "ssl_key_file": key, "ssl": "on"}
        self.directory = directory
        self._names = map("ledger{}".format, count(1))
        self._shared = self._ledger = ""

    def prepare(self) -> None:
        """Make the user, and let others than the superuser in by password only."""
        self.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
        for name, value in self._files.items():
            self.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        (self.data / "pg_hba.conf").write_text(ACCESS)
        self.sql("SELECT pg_reload_conf()")

    def database(self, options: str = "") -> str:
        """Make an empty database, and return its name. `options` are of CREATE DATABASE."""
        name = next(self._names)
        self.sql(f"CREATE DATABASE {name} OWNER {USER} TEMPLATE template0 {options}")
        return name

    def emptied(self) -> str:
        """Return the name of a database that tests share, without a ledger in it."""
        if not self._shared:
            self._shared = self.database()
        self.disconnect(self._shared)
        self.sql("DROP SCHEMA IF EXISTS busmon CASCADE", self._shared)
        return self._shared

    def cleared(self) -> str:
        """Return the name of a database that tests share, with an empty ledger in it."""
        if not self._ledger:
            self._ledger = self.database()
            Ledger(database_at(self.url_of(self._ledger))).close()
        self.disconnect(self._ledger)
        tables = self.sql(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'busmon'", self._ledger
        )
        names = {str(name) for (name,) in tables} - {"versions", "shares"}
        # Some hundred times as fast as to make them again, or to truncate them.
        self.sql("; ".join(f"DELETE FROM busmon.{name}" for name in names), self._ledger)
        return self._ledger

    def url_of(self, database: str, port: int = 0, sslmode: str = "disable") -> str:
        """Return the URL with which USER connects, by this port."""
        login = f"{USER}:{PASSWORD.replace('/', '%2F')}"
        return f"postgresql://{login}@127.0.0.1:{port or self.port}/{database}?sslmode={sslmode}"

    @contextmanager
    def writing(self, database: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
        """Meanwhile another busmon writes; at the end, what it wrote is there."""
        with psycopg.connect(self._url(database)) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s::bigint)", (WRITING,))
            yield connection

    @contextmanager
    def locked(self, table: str, database: str) -> Iterator[None]:
        """Meanwhile another program has locked a table."""
        with psycopg.connect(self._url(database)) as connection:
            connection.execute(f"LOCK TABLE {table}".encode())
            yield

    def _url(self, database: str) -> str:
        return f"postgresql://{ADMIN}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def sql(self, text: str, database: str = ADMIN) -> list[tuple[object, ...]]:
        """Return what a statement of the superuser returns."""
        with psycopg.connect(self._url(database), autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def backends(self) -> list[int]:
        """Return the processes that serve USER."""
        found = self.sql(f"SELECT pid FROM pg_stat_activity WHERE usename = '{USER}'")
        return [cast(int, pid) for (pid,) in found]

    def disconnect(self, database: str = "") -> None:
        """End all sessions of USER, or those in one database; also what a client has just closed.

        When this returns, none of them has a lock, or is counted.
        """
        among = f"usename = '{USER}'" + (f" AND datname = '{database}'" if database else "")
        self.sql(f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {among}")

    @contextmanager
    def away(self) -> Iterator[None]:
        """Meanwhile it is down: killed, not stopped."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()
        try:
            yield
        finally:
            # Its children end as soon as they notice; before, it refuses to start.
            wait_until(lambda: not self._children(), what="the server's processes to end")
            self.start()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Meanwhile it has as many connections as it may have."""
        most = int(SETTINGS["max_connections"])
        with ExitStack() as stack:
            held: list[object] = []

            def hold() -> bool:
                with suppress(psycopg.OperationalError):  # those that are ending still count
                    while len(held) < most:
                        held.append(stack.enter_context(psycopg.connect(self._url(ADMIN))))
                return len(held) == most

            wait_until(hold, what="all connections")
            yield

    @contextmanager
    def frozen(self, processes: list[int]) -> Iterator[None]:
        """Meanwhile these processes of it hang."""
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    @contextmanager
    def without_tls(self) -> Iterator[None]:
        """Meanwhile new connections have no TLS."""
        for text in ("ALTER SYSTEM SET ssl = off", "ALTER SYSTEM SET ssl = on"):
            self.sql(text)
            self.sql("SELECT pg_reload_conf()")
            expected = [(text.split()[-1],)]
            wait_until(lambda: self.sql("SHOW ssl") == expected, what=text)  # noqa: B023 - now
            if text.endswith("off"):
                yield

    @contextmanager
    def standby(self) -> Iterator["Standby"]:
        """A server that replicates this one, and can only be read."""
        with directory("standby") as path, Standby(path, self) as standby:
            yield standby

    def _children(self) -> list[str]:
        """Return the processes of the server that work in its files."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").readlink() == self.data:
                    found.append(process.name)
            except OSError:
                continue
        return found


class Standby(PostgreSQL):
    """A replica that follows a server, and can only be read until it is promoted."""

    def __init__(self, directory: Path, primary: LedgerServer) -> None:
        super().__init__(directory, ADMIN, USR_OF_SERVER, SETTINGS)
        address = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", ADMIN)
        options = ("-R", "-X", "stream", "--checkpoint=fast", "--no-sync")
        self._url = f"postgresql://{ADMIN}@127.0.0.1:{self.port}/{ADMIN}?sslmode=disable"
        self.program("pg_basebackup", *address, "-D", self.data, *options)

    def detach(self) -> None:
        """Let it receive no more."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
            receiving = "SELECT 1 FROM pg_stat_wal_receiver"
            wait_until(
                lambda: not connection.execute(receiving).fetchall(), what="the end of receiving"
            )

    def promote(self) -> None:
        """Let it be written to."""
        self.program("pg_ctl", "promote", "-D", self.data)


@contextmanager
def directory(purpose: str) -> Iterator[Path]:
    """A directory that PostgreSQL's user can reach, unlike pytest's."""
    with TemporaryDirectory(prefix=f"busmon-{purpose}-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture(scope="session")
def ledger_server(certificates: Certificates) -> Iterator[LedgerServer]:
    """One for the session; each test makes databases of its own, and leaves it running.

    What busmon has counted is read again after each write, and only for a second, as it may be
    old; but a test wants to see what it has written, although the machine stood still meanwhile.
    """
    with (
        pytest.MonkeyPatch.context() as patch,
        directory("postgresql") as path,
        LedgerServer(path, certificates) as server,
    ):
        patch.setattr(known, "READ_SECONDS", 60.0)
        server.prepare()
        yield server
