"""When each observer of the listener and its workers did see, so that "no data" is not "missing".

An observer is named by what it is and the bus: `tap:fedora`, `ready:fedora`,
`celery:fedora`. Its intervals are in the ledger's table `observed`.
"""

import sqlite3

from busmon.ledger.sqlite import milliseconds

MAX_GAP_SECONDS = 30.0  # seconds between two signs of life in which nothing is taken to be missed


def extend_coverage(
    db: sqlite3.Connection, observer: str, now: float, since: float | None = None
) -> None:
    """Note that the observer sees at `now`, and has seen everything `since` then, if given.

    Unix times. A pause of less than `MAX_GAP_SECONDS` after the last interval is closed; after a
    longer one a new interval begins.
    """
    until = milliseconds(now)
    first = until if since is None else milliseconds(min(since, now))
    extended = db.execute(
        "UPDATE observed SET until = max(until, ?) WHERE observer = ?"
        " AND since = (SELECT max(since) FROM observed WHERE observer = ?) AND until > ?",
        (until, observer, observer, (first or 0) - int(MAX_GAP_SECONDS * 1000)),
    ).rowcount
    if not extended:
        db.execute("INSERT OR IGNORE INTO observed VALUES (?, ?, ?)", (observer, first, until))


def note_span(
    db: sqlite3.Connection, observer: str, since: float, until: float, hole: float
) -> None:
    """Note that the observer saw from `since` to `until`, told in any order.

    What was noted before and is less than `hole` seconds away becomes one interval with it.
    """
    first, last, away = (milliseconds(time) or 0 for time in (since, until, hole))
    near = "FROM observed WHERE observer = ? AND until >= ? AND since <= ?"
    bounds = (observer, first - away, last + away)
    for noted in db.execute(f"SELECT since, until {near}", bounds):
        first, last = min(first, noted[0]), max(last, noted[1])
    db.execute(f"DELETE {near}", bounds)
    db.execute("INSERT INTO observed VALUES (?, ?, ?)", (observer, first, last))


def note_start(db: sqlite3.Connection, observer: str, now: float) -> None:
    """Note that the observer sees from `now` on, and missed what was before, however short."""
    at = milliseconds(now)
    db.execute("INSERT OR IGNORE INTO observed VALUES (?, ?, ?)", (observer, at, at))


def is_covered(db: sqlite3.Connection, observer: str, start: float, end: float) -> bool:
    """Tell whether the observer saw from `start` to `end` without a hole; Unix times."""
    (found,) = db.execute(
        "SELECT EXISTS (SELECT 1 FROM observed WHERE observer = ? AND since <= ? AND until >= ?)",
        (observer, milliseconds(start), milliseconds(end)),
    ).fetchone()
    return bool(found)
