"""How a ledger of an older version becomes one of today's: a function for each step.

The steps are one transaction. Before it the file is copied, so that the older busmon can be
used again.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

from busmon import __version__
from busmon.ledger import shares
from busmon.ledger.errors import LedgerError
from busmon.ledger.parts import PART
from busmon.ledger.schema import (
    FOUND_QUEUES,
    INDEX_OF_OTHER_TASKS,
    INDEXES_OF_TASKS,
    INDEXES_OF_VERSION_3,
    NEW_IN_VERSION_5,
    SERIES,
    SHARES,
    WINDOWS,
    statements,
)
from busmon.ledger.sqlite.copies import copy_before, copy_name

APPLICATION_ID = 0x6275736D  # "busm", in the file's header

log = logging.getLogger(__name__)


def _to_version_2(db: sqlite3.Connection) -> None:
    """Give tables plain names, and count what is pruned.

    Before, the number of messages on record was taken from their numbers, which had no gap.
    """
    for before, after in (
        ("seen", "messages"),
        ("hours", "hourly_sums"),
        ("blind", "blind_times"),
        ("observed", "coverage"),
        ("reports", "tap_reports"),
        ("listener", "listener_counts"),
        ("polls", "listener_polls"),
        ("missing", "missing_messages"),
        ("running", "running_messages"),
        ("audited", "audit_totals"),
    ):
        db.execute(f"ALTER TABLE {before} RENAME TO {after}")
    for table in ("windows", "missing_messages", "audit_totals"):
        db.execute(f"ALTER TABLE {table} RENAME COLUMN hop TO stage")
    db.execute("ALTER TABLE buses RENAME COLUMN watched TO watched_until")
    db.execute("ALTER TABLE buses ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0")
    on_record = dict(db.execute("SELECT bus, count(*) FROM messages GROUP BY bus").fetchall())
    for bus, counted in db.execute("SELECT bus, sum(messages) FROM series GROUP BY bus").fetchall():
        pruned = counted - on_record.get(bus, 0)
        db.execute("UPDATE buses SET pruned = ? WHERE id = ?", (pruned, bus))
    db.execute(
        "CREATE TABLE audit_progress"
        " (id INTEGER PRIMARY KEY CHECK (id = 1), closed_until INTEGER NOT NULL)"
    )
    db.execute("INSERT INTO audit_progress (id, closed_until) SELECT 1, until FROM closed LIMIT 1")
    db.execute("DROP TABLE closed")
    db.execute("CREATE TABLE versions (version INTEGER PRIMARY KEY, busmon TEXT NOT NULL)")


def _to_version_3(db: sqlite3.Connection) -> None:
    """Find old rows quickly. The bytes of each kind of row are counted again in version 5."""
    _execute(db, INDEXES_OF_VERSION_3)


def _to_version_4(db: sqlite3.Connection) -> None:
    """Keep when a tap reported last, and which queues were there; count unknown schemas."""
    db.execute("ALTER TABLE buses ADD COLUMN tap_reported INTEGER")
    db.execute(
        "UPDATE buses SET tap_reported ="
        " (SELECT max(until) FROM coverage WHERE observer = 'tap:' || buses.name)"
    )
    db.execute("ALTER TABLE buses ADD COLUMN unknown_schemas INTEGER NOT NULL DEFAULT 0")
    db.execute(FOUND_QUEUES)


def _to_version_5(db: sqlite3.Connection) -> None:
    """Each change is a function; none of them needs the bytes, which are counted at the end."""
    _forget_bytes(db)
    _drop_numbers(db)
    _add_trees(db)
    _keep_times_of_passing(db)
    db.execute("ALTER TABLE messages ADD COLUMN subject INTEGER")
    _tell_filled_apart(db)
    _execute(db, NEW_IN_VERSION_5)
    db.execute(
        "INSERT INTO series_parts (part, series) SELECT DISTINCT seq / ?, series FROM messages",
        (PART,),
    )
    _keep_gaps_open(db)
    _count_bytes(db)


def _forget_bytes(db: sqlite3.Connection) -> None:
    triggers = db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for (name,) in triggers:
        db.execute(f"DROP TRIGGER {name}")
    db.execute("DROP TABLE IF EXISTS shares")


def _drop_numbers(db: sqlite3.Connection) -> None:
    """Drop what was compared only by numbers; the times without data stay."""
    db.execute(
        "UPDATE audit_totals SET messages = 0, missing = 0"
        " WHERE topic = '' AND stage = 'listener'"
        " AND bus IN (SELECT bus FROM windows WHERE exact = 0)"
    )
    db.execute("ALTER TABLE windows RENAME TO old_windows")
    db.execute(WINDOWS)
    db.execute(
        "INSERT INTO windows"
        " (start, until, bus, topic, stage, messages, missing, unexpected, recovered)"
        " SELECT start, until, bus, topic, stage, messages, missing, unexpected, recovered"
        " FROM old_windows WHERE exact = 1 OR messages IS NULL"
    )
    db.execute("DROP TABLE old_windows")
    db.execute("DROP TABLE listener_polls")


def _add_trees(db: sqlite3.Connection) -> None:
    """Keep of which tree a task is. Until now only roots were stored."""
    for column in ("root TEXT", "parent TEXT", "sent_at INTEGER"):
        db.execute(f"ALTER TABLE tasks ADD COLUMN {column}")
    db.execute("UPDATE tasks SET root = id, sent_at = received_at")
    db.execute("DROP INDEX tasks_received")
    _execute(db, INDEXES_OF_TASKS)


def _keep_times_of_passing(db: sqlite3.Connection) -> None:
    """Keep when each message was passed on."""
    db.execute("ALTER TABLE tap_reports ADD COLUMN passed_at INTEGER")
    db.execute("UPDATE tap_reports SET passed_at = reported_at WHERE state = 'passed'")


def _tell_filled_apart(db: sqlite3.Connection) -> None:
    """Let messages that only an archive had be counted by themselves."""
    db.execute("ALTER TABLE series RENAME TO old_series")
    db.execute(SERIES)
    columns = "id, bus, topic, outcome, reason, messages, last_received, last_sent"
    db.execute(f"INSERT INTO series ({columns}) SELECT {columns} FROM old_series")  # noqa: S608 - our own names
    db.execute("DROP TABLE old_series")


def _keep_gaps_open(db: sqlite3.Connection) -> None:
    """Keep all messages that windows left open in one table, until something becomes of them."""
    window = (
        "LEFT JOIN windows ON windows.start = old.start AND windows.bus = old.bus"
        " AND windows.topic = old.topic AND windows.stage ="
    )
    message = "LEFT JOIN messages ON messages.id = old.id AND messages.bus = old.bus"
    columns = "bus, id, stage, topic, start, until, received_at, state, due, ended_at"
    known = "old.topic, old.start, coalesce(windows.until, old.start), messages.received_at"
    db.execute(
        f"INSERT INTO open_messages ({columns}) SELECT old.bus, old.id, old.stage, {known},"  # noqa: S608 - our own names
        " CASE WHEN recovered_at IS NULL THEN 'missing' ELSE 'recovered' END, NULL, recovered_at"
        f" FROM missing_messages AS old {window} old.stage {message}"
    )
    db.execute(
        f"INSERT INTO open_messages ({columns})"  # noqa: S608 - our own names
        f" SELECT old.bus, old.id, 'worker', {known}, 'running', due, NULL"
        f" FROM running_messages AS old {window} 'bus' {message} WHERE true"
        " ON CONFLICT (id, bus, stage) DO NOTHING"
    )
    db.execute("DROP TABLE missing_messages")
    db.execute("DROP TABLE running_messages")
    db.execute("ALTER TABLE audit_totals ADD COLUMN expired INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE tap_reports ADD COLUMN other_task TEXT")
    db.execute(INDEX_OF_OTHER_TASKS)


def _count_bytes(db: sqlite3.Connection) -> None:
    """Keep the bytes of each kind of row."""
    _execute(db, (SHARES, *shares.definitions()))


def _execute(db: sqlite3.Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        db.execute(statement)


Step = Callable[[sqlite3.Connection], None]

# The first is from version 1.
STEPS: Sequence[Step] = (_to_version_2, _to_version_3, _to_version_4, _to_version_5)
VERSION = len(STEPS) + 1


def migrate(db: sqlite3.Connection, path: str, version: int, steps: Sequence[Step] = STEPS) -> None:
    """Copy the ledger, then bring its tables from `version` to the newest one.

    All or nothing happens. Raises LedgerError if there is no room for it, or if it fails.
    """
    newest = len(steps) + 1
    copy = copy_before(db, path, version, newest)
    try:
        with db:  # commits, or rolls back
            db.execute("BEGIN EXCLUSIVE")
            for step in steps[version - 1 :]:
                step(db)
            _sign(db, newest)
    except sqlite3.Error as error:
        raise LedgerError(
            f"{path}: the migration from version {version} to {newest} failed: {error};"
            " the ledger is unchanged"
        ) from error
    log.info("%s: migrated from version %d to %d; copy: %s", path, version, newest, copy)


def create(db: sqlite3.Connection) -> None:
    """Make the tables of the newest version in an empty file."""
    with db:
        db.executescript("; ".join(("BEGIN", *statements())))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        _count_bytes(db)
        _sign(db, VERSION)


def lacking(db: sqlite3.Connection) -> list[str]:
    """Return the tables and triggers of the newest version that a ledger lacks."""
    names = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'trigger')"
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as whole:
        create(whole)
        return [name for (name,) in set(whole.execute(names)) - set(db.execute(names))]


def _sign(db: sqlite3.Connection, version: int) -> None:
    """Write which version the tables have, and which busmon made them."""
    db.execute("INSERT INTO versions (version, busmon) VALUES (?, ?)", (version, __version__))
    db.execute(f"PRAGMA user_version = {version}")


def explain_newer(db: sqlite3.Connection, path: str, version: int) -> str:
    """Return what to do with a ledger that a newer busmon wrote."""
    known = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'versions'").fetchone()
    query = "SELECT busmon FROM versions ORDER BY version DESC LIMIT 1"
    found = db.execute(query).fetchone() if known else None
    newer = f"busmon {found[0]}" if found else "a newer busmon"
    copies = [copy_name(path, older) for older in range(VERSION, 0, -1)]
    copy = next((str(copy) for copy in copies if copy.exists()), "a backup")
    return (
        f"{path}: written by {newer} (ledger version {version}; busmon {__version__} knows"
        f" version {VERSION}). Start that busmon again, or restore {copy}: then all that was"
        " counted since is lost"
    )
