"""How much of the ledger each kind of row may take.

Each kind beside the messages has a share of the size limit. Above it, its own oldest rows are
deleted. So nobody who makes reports, tasks or gaps by the million can make busmon forget the
messages: they have all that is left, nearly half at least.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from busmon.ledger.values import milliseconds

ROWS_AT_ONCE = 500  # that are deleted; such a step holds up counting for some milliseconds
# Above a share, few rows are deleted at a time, because a small share has only some hundred.
ROWS_OF_A_STEP = 50
STEPS_OF_A_WRITE = 80  # a write adds at most 1,000 rows of a kind


class Kind(NamedTuple):
    """A table whose rows are deleted by age and by size."""

    table: str
    key: str  # the columns of its primary key
    age: str  # a column with an index; the smallest value is the oldest
    share: Fraction  # of the size limit
    row_bytes: int  # with its indexes, without the texts
    texts: tuple[tuple[str, int], ...] = ()  # columns, and in how many trees each one is
    changing: str = ""  # a text that an update can change

    def size(self, row: str = "") -> str:
        """Return the SQL for the bytes of a row: NEW., OLD., or of the table."""
        texts = (
            f" + {trees} * coalesce(length(CAST({row}{column} AS BLOB)), 0)"
            for column, trees in self.texts
        )
        return f"{self.row_bytes}{''.join(texts)}"


# B-trees whose keys come in no order are two thirds full. The figures include that.
KINDS = {
    kind.table: kind
    for kind in (
        Kind(
            "tap_reports",
            "id, bus",
            "reported_at",
            Fraction(3, 16),
            90,
            (("id", 5), ("topic", 2), ("task", 3)),
            changing="task",
        ),
        Kind(
            "tasks",
            "id",
            "sent_at",
            Fraction(1, 16),
            140,
            (("id", 5), ("name", 2), ("root", 3), ("parent", 2)),
        ),
        Kind("windows", "start, bus, topic, stage", "start", Fraction(1, 32), 80, (("topic", 3),)),
        Kind(
            "missing_messages",
            "id, bus, stage",
            "start",
            Fraction(1, 32),
            70,
            (("id", 3), ("topic", 2)),
        ),
        Kind("running_messages", "id, bus", "due", Fraction(1, 64), 70, (("id", 3), ("topic", 2))),
        Kind("hourly_sums", "hour, series", "hour", Fraction(3, 16), 20),
        Kind("coverage", "observer, since", "until", Fraction(1, 128), 50, (("observer", 3),)),
        Kind("blind_times", "bus, since", "until", Fraction(1, 128), 60),
        Kind(
            "incidents",
            "id",
            "seen",
            Fraction(1, 64),
            80,
            (("bus", 2), ("kind", 2), ("first_evidence", 2), ("last_evidence", 2)),
            changing="last_evidence",
        ),
    )
}


def definitions() -> Iterator[str]:
    """Yield the statements that keep the table `shares` up to date, whoever changes rows."""
    for table, kind in KINDS.items():
        yield (
            f"INSERT INTO shares (kind, bytes) SELECT '{table}',"  # noqa: S608 - our own names
            f" coalesce(sum({kind.size()}), 0) FROM {table}"
        )
        changes = {"INSERT": f"+ {kind.size('NEW.')}", "DELETE": f"- ({kind.size('OLD.')})"}
        if kind.changing:
            changes[f"UPDATE OF {kind.changing}"] = f"+ {kind.size('NEW.')} - ({kind.size('OLD.')})"
        for change, added in changes.items():
            add = f"UPDATE shares SET bytes = bytes {added} WHERE kind = '{table}'"  # noqa: S608 - our own names
            name = f"{table}_{change.split()[0].lower()}"
            yield f"CREATE TRIGGER {name} AFTER {change} ON {table} BEGIN {add}; END"


class Shares:
    """What each kind of row takes, and how it is deleted."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def bytes(self) -> dict[str, int]:
        """Return the bytes that each kind takes, by table."""
        return dict(self._db.execute("SELECT kind, bytes FROM shares").fetchall())

    def prune(self, table: str, before: float) -> bool:
        """Delete rows older than this Unix time, up to `ROWS_AT_ONCE`; return if there are more."""
        kind = KINDS[table]
        where = f"WHERE {kind.age} < ?"
        return self._delete(kind, ROWS_AT_ONCE, where, milliseconds(before)) == ROWS_AT_ONCE

    def above(self, size_limit: int) -> list[Kind]:
        """Return the kinds that have more than their share."""
        size = self.bytes()
        return [kind for kind in KINDS.values() if size[kind.table] > kind.share * size_limit]

    def enforce(self, size_limit: int) -> Counter[str]:
        """Delete the oldest rows of each kind that has more than its share; return how many.

        This takes some milliseconds, so a kind that has far too much needs several calls.
        """
        dropped = Counter[str]()
        for _ in range(STEPS_OF_A_WRITE):
            if not (too_large := self.above(size_limit)):
                break
            for kind in too_large:
                dropped[kind.table] += self._delete(kind, ROWS_OF_A_STEP)
        return dropped

    def _delete(self, kind: Kind, limit: int, where: str = "", *parameters: int | None) -> int:
        return self._db.execute(
            f"DELETE FROM {kind.table} WHERE ({kind.key}) IN (SELECT {kind.key}"  # noqa: S608 - our own names
            f" FROM {kind.table} {where} ORDER BY {kind.age} LIMIT ?)",
            (*parameters, limit),
        ).rowcount
