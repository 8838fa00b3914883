"""How much of the ledger each kind of row may take.

Each kind beside the messages has a share of the size limit. Above it, its own oldest rows are
deleted. So nobody who makes reports, tasks or gaps by the million can make busmon forget the
messages: they have all that is left, nearly half at least. Only missing messages have no share:
they are never deleted, and come on top of the size limit.
"""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from busmon.ledger.connection import Connection
from busmon.ledger.coverage import ObserverCoverage
from busmon.ledger.values import milliseconds

ROWS_AT_ONCE = 500  # that are deleted; such a step holds up counting for some milliseconds
# Above a share, few rows are deleted at a time, because a small share has only some hundred.
ROWS_OF_A_STEP = 50
STEPS_OF_A_WRITE = 80  # a write adds at most 1,000 rows of a kind


class Kind(NamedTuple):
    """Rows that are deleted by age and by size: those of a table, or some of them."""

    name: str
    key: str  # the columns of the table's primary key
    age: str  # a column with an index; the smallest value is the oldest
    share: Fraction | None  # of the size limit; None: they are never deleted
    row_bytes: int  # with its indexes, without the texts
    texts: tuple[tuple[str, int], ...] = ()  # columns, and in how many trees each one is
    changing: str = ""  # columns that say how large a row is and of which kind, if they can change
    table: str = ""  # if it has another name
    only: str = ""  # which rows of the table; begins with a column
    observer: str = ""  # the kind of the observer that reported them

    def size(self, row: str = "") -> str:
        """Return the SQL for the bytes of a row: NEW., OLD., or of the table."""
        texts = (
            f" + {trees} * coalesce(length(CAST({row}{column} AS BLOB)), 0)"
            for column, trees in self.texts
        )
        return f"{self.row_bytes}{''.join(texts)}"

    def rows(self, condition: str = "") -> str:
        """Return the SQL for the rows of this kind that also meet a condition."""
        where = " AND ".join(filter(None, (self.only, condition)))
        return f"{self.table or self.name}{where and f' WHERE {where}'}"

    def triggers(self) -> Iterator[tuple[str, str]]:
        """Yield name and SQL of what keeps the bytes up to date, whoever changes rows."""
        changes = [("insert", "INSERT", "NEW.", "+"), ("delete", "DELETE", "OLD.", "-")]
        if self.changing:
            update = f"UPDATE OF {self.changing}"
            changes += [("change_from", update, "OLD.", "-"), ("change_to", update, "NEW.", "+")]
        for name, change, row, sign in changes:
            when = f" WHEN {row}{self.only}" if self.only else ""
            add = f"UPDATE shares SET bytes = bytes {sign} ({self.size(row)})"  # noqa: S608 - our own names
            yield (
                f"{self.name}_{name}",
                f"AFTER {change} ON {self.table or self.name}{when}"
                f" BEGIN {add} WHERE kind = '{self.name}'; END",
            )


def _open_messages(
    name: str, only: str, age: str, share: Fraction | None, row_bytes: int, trees: int
) -> Kind:
    """Return a kind of open messages. `trees`: the topic is also in an index, or is not."""
    texts = (("id", 3), ("topic", trees))
    key, changing = "id, bus, stage", "state, topic"
    return Kind(name, key, age, share, row_bytes, texts, changing, "open_messages", only)


# B-trees whose keys come in no order are two thirds full. The figures include that.
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "tap_reports",
            "id, bus",
            "reported_at",
            Fraction(3, 16),
            90,
            (("id", 5), ("topic", 2), ("task", 3), ("other_task", 3)),
            changing="task, other_task",
            observer="tap",
        ),
        Kind(
            "tasks",
            "id",
            "sent_at",
            Fraction(1, 8),
            140,
            (("id", 5), ("name", 2), ("root", 3), ("parent", 2)),
            observer="celery",
        ),
        Kind("windows", "start, bus, topic, stage", "start", Fraction(1, 32), 80, (("topic", 3),)),
        _open_messages("missing_messages", "state = 'missing'", "start", None, 60, 4),
        _open_messages(
            "unconfirmed_messages", "state = 'unconfirmed'", "start", Fraction(1, 64), 80, 2
        ),
        _open_messages("running_messages", "state = 'running'", "due", Fraction(1, 64), 80, 2),
        _open_messages(
            "ended_messages",
            "state IN ('recovered', 'accepted', 'expired')",
            "ended_at",
            Fraction(1, 64),
            80,
            2,
        ),
        Kind("hourly_sums", "hour, series", "hour", Fraction(1, 8), 20),
        Kind("archive_sums", "hour, topic", "hour", Fraction(1, 384), 20),
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
LIMITED = tuple(name for name, kind in KINDS.items() if kind.share is not None)


def definitions() -> Iterator[str]:
    """Yield the statements that keep the table `shares` up to date, whoever changes rows."""
    for kind in KINDS.values():
        yield (
            f"INSERT INTO shares (kind, bytes) SELECT '{kind.name}',"  # noqa: S608 - our own names
            f" coalesce(sum({kind.size()}), 0) FROM {kind.rows()}"
        )
        for name, trigger in kind.triggers():
            yield f"CREATE TRIGGER {name} {trigger}"


class Shares:
    """What each kind of row takes, and how it is deleted."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def bytes(self) -> dict[str, int]:
        """Return the bytes that each kind takes, by its name; PostgreSQL has others, too."""
        return dict(self._db.execute("SELECT kind, bytes FROM shares").fetchall())

    def on_top(self) -> int:
        """Return the bytes that come on top of the size limit."""
        size = self.bytes()
        return sum(size[name] for name, kind in KINDS.items() if kind.share is None)

    def prune(self, name: str, before: float) -> bool:
        """Delete rows older than this Unix time, up to `ROWS_AT_ONCE`; return if there are more."""
        kind = KINDS[name]
        old = kind.rows(f"{kind.age} < ?")
        return self._delete(kind, old, milliseconds(before), ROWS_AT_ONCE) == ROWS_AT_ONCE

    def above(self, size_limit: int) -> list[Kind]:
        """Return the kinds that have more than their share."""
        size = self.bytes()
        return [
            kind
            for kind in KINDS.values()
            # Each write does this. With integers, because arithmetic with fractions is slow.
            if kind.share is not None
            and size[kind.name] * kind.share.denominator > size_limit * kind.share.numerator
        ]

    def enforce(self, size_limit: int) -> Counter[str]:
        """Delete the oldest rows of each kind that has more than its share; return how many.

        This takes some milliseconds, so a kind that has far too much needs several calls. What
        an observer reported of the time before is no longer known, so it counts as not watched.
        """
        dropped = Counter[str]()
        for _ in range(STEPS_OF_A_WRITE):
            if not (too_large := self.above(size_limit)):
                break
            for kind in too_large:
                dropped[kind.name] += self._delete(kind, kind.rows(), ROWS_OF_A_STEP)
        for name in dropped:
            self._forget_coverage(KINDS[name])
        return dropped

    def _forget_coverage(self, kind: Kind) -> None:
        if kind.observer:
            query = f"SELECT min({kind.age}) FROM {kind.name}"  # noqa: S608 - our own names
            (oldest,) = self._db.execute(query).fetchone()
            ObserverCoverage(self._db).forget(kind.observer, oldest)

    def _delete(self, kind: Kind, rows: str, *parameters: int | None) -> int:
        return self._db.execute(
            f"DELETE FROM {kind.table or kind.name} WHERE ({kind.key}) IN"  # noqa: S608 - our own names
            f" (SELECT {kind.key} FROM {rows} ORDER BY {kind.age} LIMIT ?)",
            parameters,
        ).rowcount
