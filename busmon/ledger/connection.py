"""What the tables use of a connection to a database, whichever engine it is of.

The SQL of the tables is one text for all engines, in what SQLite 3.34 and PostgreSQL understand.
Its parameters are `?` or `:name`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
VALUES_AT_ONCE = 1024  # SQLite takes 32,766 in a statement, PostgreSQL 65,535
Parameters = Sequence[Any] | Mapping[str, Any]


def places(values: Sized) -> str:
    """Return the placeholders of a list of values, for `IN`. An empty list contains nothing."""
    return ", ".join("?" * len(values)) or "NULL"


def in_parts(values: Iterable[T]) -> Iterator[list[T | None]]:
    """Yield lists of these values for `IN`, with NULLs behind them.

    The length of a list is a power of two, so that there are few different statements to be parsed.
    """
    left = iter(values)
    while some := list(islice(left, VALUES_AT_ONCE)):
        room = 1 << (len(some) - 1).bit_length()
        yield [*some, *[None] * (room - len(some))]


class Cursor(Protocol):
    """What a statement returned."""

    @property
    def rowcount(self) -> int:
        """The number of rows that were changed."""

    def fetchone(self) -> Any:
        """Return the next row, a tuple; None if there is no more."""

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """Return the rows that are left, one by one."""


class Connection(Protocol):
    """A connection, inside a transaction."""

    def execute(self, sql: str, parameters: Parameters = (), /) -> Cursor:
        """Execute one statement."""

    def executemany(self, sql: str, rows: Iterable[Parameters], /) -> Cursor:
        """Execute a statement for each row of parameters; the result counts all changed rows."""
