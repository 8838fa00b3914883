"""PostgreSQL's connection with the calls that the tables use, and the SQL of theirs translated."""

import os
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple, cast

from psycopg import Error, NotSupportedError
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader

from busmon.ledger.connection import Cursor, Parameters
from busmon.ledger.postgresql.answers import BoundedConnection
from busmon.ledger.values import TextId

CONNECT_SECONDS = 5
OLDEST = 14  # PostgreSQL; it is the first that notices a client that is gone
WRITING = 0x6275736D01  # the key of an advisory lock: "busm" and a number
# If the network is cut, both sides know within some ten seconds, also while nothing is sent. The
# server then ends the session, with its locks.
NETWORK = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "client_encoding": "UTF8",
    "application_name": "busmon",
}
SERVER_SIDE = """
SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 10000; SET client_connection_check_interval = '5s'
"""
# Others than these can be the default of a user or a database. No query of busmon takes as long
# as compiling it does, or as starting others to help.
DEFAULTS = """
SET statement_timeout = 0; SET array_nulls = on; SET jit = off;
SET max_parallel_workers_per_gather = 0
"""
# A new session has no lock. So if this one has, a pooler has given it to another client before.
SESSION = """
SELECT pg_backend_pid(), EXISTS (
    SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'
)
"""
POOLED = (
    "a pooler between busmon and the server, such as PgBouncer, shares sessions; it must be in"
    " session mode, or busmon must connect without it"
)
NUL = "\N{REPLACEMENT CHARACTER}"  # which no text of PostgreSQL can have

# What no placeholder is in, or a placeholder.
TOKEN = re.compile(r"'[^']*'|--[^\n]*|::|%|\?|(?<!:):(\w+)")
INSERT = re.compile(r"\s*INSERT INTO (\w+) \(([^)]*)\)\s*VALUES \(([?, ]+)\)(.*)", re.DOTALL)
UPDATE = re.compile(r"\s*ON CONFLICT \(([^)]*)\)\s*DO UPDATE")

Types = Mapping[tuple[str, str], str]  # of columns, by table and column


class TooLate(Exception):
    """The time for reading is over."""


class IntLoader(Loader):
    """Reads the sum of whole numbers, which is a `numeric`."""

    format = Format.BINARY

    def load(self, data: Buffer) -> int:
        """Return a whole number."""
        return int(NumericBinaryLoader(self.oid).load(data))


class Insert(NamedTuple):
    """An INSERT that takes an array for each column."""

    sql: bytes
    key: tuple[int, ...]  # the places of the columns by which it updates a row; empty: it does not

    def takes(self, rows: Sequence[Sequence[Any]]) -> bool:
        """Return whether it can insert these rows: it can update no row twice."""
        return not self.key or len({tuple(row[n] for n in self.key) for row in rows}) == len(rows)


class Nothing:
    """What a statement that was executed for no row returned."""

    rowcount = 0

    def fetchone(self) -> None:
        """Return None."""

    def fetchall(self) -> list[Any]:
        """Return []."""
        return []

    def __iter__(self) -> Iterator[Any]:
        return iter(())


@lru_cache(maxsize=1000)
def translated(sql: str) -> bytes:
    """Return a statement with psycopg's placeholders."""

    def replace(match: re.Match[str]) -> str:
        match match[0]:
            case "?":
                return "%s"
            case "%":
                return "%%"
            case text:
                return f"%({match[1]})s" if match[1] else text.replace("%", "%%")

    return TOKEN.sub(replace, sql).encode()


class PostgresConnection:
    """A connection, inside a transaction that others begin and end."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        # psycopg's type knows its own parameters only, and these are libpq's.
        self.of_server = BoundedConnection.connect(**NETWORK, **parameters, autocommit=True)  # type: ignore[arg-type]
        if self.of_server.info.server_version < OLDEST * 10_000:
            version = self.of_server.info.parameter_status("server_version")
            self.of_server.close()
            raise NotSupportedError(f"PostgreSQL {version} is too old; busmon needs {OLDEST}")
        adapters = self.of_server.adapters
        adapters.register_dumper(int, Int8BinaryDumper)
        adapters.register_loader("numeric", IntLoader)
        self.of_server.patience = CONNECT_SECONDS
        self._session, shared = self.run(f"{SERVER_SIDE}; {DEFAULTS}; {SESSION}").fetchone()
        if shared:
            self.of_server.close()
            raise NotSupportedError(POOLED)
        self.types: Types = {}
        self.deadline: float | None = None  # monotonic
        self._inserts: dict[str, Insert | None] = {}

    def own_address(self) -> str:
        """Return the address of this host, as the connection has it."""
        with socket.socket(fileno=os.dup(self.of_server.fileno())) as connection:
            if connection.family == socket.AF_UNIX:
                return "127.0.0.1"
            return str(connection.getsockname()[0])

    def run(self, script: str) -> Cursor:
        """Execute statements without parameters, in one round trip; return the last result."""
        cursor = self.of_server.execute(script.encode())
        while cursor.nextset():
            pass
        return cursor

    def lock(self, script: str) -> None:
        """Execute statements, the last of which selects a lock, for the session of this connection.

        Raises NotSupportedError if the server executed them for another one.
        """
        *_, session = self.run(f"{script}, pg_backend_pid()").fetchone()
        if session != self._session:
            raise NotSupportedError(POOLED)

    def roll_back(self) -> None:
        """Undo what was not committed. If the connection is broken, the server does so."""
        with suppress(Error):
            if self.of_server.pgconn.transaction_status:
                self.run("ROLLBACK")

    def execute(self, sql: str, parameters: Parameters = (), /) -> Cursor:
        """See Connection."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TooLate
        values = _mapped(parameters) if isinstance(parameters, Mapping) else _listed(parameters)
        return self.of_server.execute(translated(sql), values, binary=True)

    def executemany(self, sql: str, rows: Iterable[Parameters], /) -> Cursor:
        """See Connection. Rows of values are inserted by one statement, if it can do so."""
        if sql not in self._inserts:
            self._inserts[sql] = self._of_arrays(sql)
        cursor, rows = self.of_server.cursor(), list(rows)
        if not rows:
            return Nothing()
        insert = self._inserts[sql]
        if insert and insert.takes(cast(list[Sequence[Any]], rows)):
            cursor.execute(insert.sql, [_array(column) for column in zip(*rows, strict=True)])
        else:
            values = [_mapped(r) if isinstance(r, Mapping) else _listed(r) for r in rows]
            cursor.executemany(translated(sql), values)
        return cursor

    def _of_arrays(self, sql: str) -> Insert | None:
        """Return the same with an array for each column; None for another statement."""
        found = INSERT.fullmatch(sql)
        if not found:
            return None
        table, columns, _, rest = found.groups()
        names = [column.strip() for column in columns.split(",")]
        types = (self.types[table, name] for name in names)
        arrays = ", ".join(f"%s::{of}[]" for of in types)
        insert = f"INSERT INTO {table} ({columns}) SELECT * FROM unnest({arrays}) {rest}"  # noqa: S608 - our own text
        update = UPDATE.match(rest)
        key = [column.strip() for column in update[1].split(",")] if update else []
        return Insert(insert.encode(), tuple(map(names.index, key)))


def _listed(values: Sequence[Any]) -> list[Any]:
    return [_value(value) if isinstance(value, str) else value for value in values]


def _array(values: Sequence[Any]) -> str:
    """Return an array as PostgreSQL reads it; psycopg's arrays take far more time."""
    return f"{{{','.join(map(_element, values))}}}"


def _element(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case int() | float():
            return str(value)
        case str() if not isinstance(value, TextId):
            escaped = without_nul(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
    return f'"\\\\x{_bytes(value).hex()}"'


def _bytes(value: bytes | TextId) -> bytes:
    return value.in_bytes() if isinstance(value, TextId) else value


def _mapped(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _value(value) if isinstance(value, str) else value for name, value in values.items()
    }


def _value(text: str) -> str | bytes:
    return text.in_bytes() if isinstance(text, TextId) else without_nul(text)


def without_nul(text: str) -> str:
    """Return a text that PostgreSQL can store."""
    return text.replace("\0", NUL) if "\0" in text else text
