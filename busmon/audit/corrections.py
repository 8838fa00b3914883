"""Corrections of closed windows: what is told later of messages that were missing or running.

Counters only go up. A message that was missing and came by after all is recovered; one that
a worker had when its window was closed is done or missing later.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from busmon.audit.balance import MessageTrace, Stage
from busmon.ledger.coverage import MAX_GAP_SECONDS, is_covered
from busmon.ledger.sqlite import milliseconds

LATE = 24 * 3600.0  # seconds from a window's start in which it may still be corrected
AT_ONCE = 500  # rows of a step, which takes some milliseconds

MISSING = """
SELECT start, missing.id, missing.bus, stage, missing.topic,
    reports.state, reports.task, tasks.state
FROM missing LEFT JOIN reports ON reports.id = missing.id AND reports.bus = missing.bus
LEFT JOIN tasks ON tasks.id = reports.task
WHERE recovered_at IS NULL AND start >= ?
AND (start, missing.id, missing.bus, stage) > (?, ?, ?, ?)
ORDER BY start, missing.id, missing.bus, stage LIMIT ?
"""
RUNNING = """
SELECT start, running.id, running.bus, due, running.topic,
    reports.state, reports.task, tasks.state
FROM running LEFT JOIN reports ON reports.id = running.id AND reports.bus = running.bus
LEFT JOIN tasks ON tasks.id = reports.task
WHERE tasks.state IN ('succeeded', 'failed') OR due <= ? ORDER BY due LIMIT ?
"""
# A window that is forgotten already gets no row; the sums get what it adds all the same.
WINDOW = """
INSERT INTO windows SELECT start, until, bus, :topic, :stage, :messages, :missing, 0, :recovered, 1
FROM windows WHERE start = :start AND bus = :bus AND stage = 'bus' LIMIT 1
ON CONFLICT DO UPDATE SET messages = messages + excluded.messages,
    missing = missing + excluded.missing, recovered = recovered + excluded.recovered
"""
SUM = """
INSERT INTO audited (bus, topic, stage, messages, missing, unexpected, recovered, no_data)
VALUES (:bus, :topic, :stage, :messages, :missing, :unexpected, :recovered, :no_data)
ON CONFLICT DO UPDATE SET messages = messages + excluded.messages,
    missing = missing + excluded.missing, unexpected = unexpected + excluded.unexpected,
    recovered = recovered + excluded.recovered, no_data = no_data + excluded.no_data
"""
NO_DATA = """
INSERT OR IGNORE INTO windows SELECT start, until, bus, '', 'worker', NULL, 0, 0, 0, 1
FROM windows WHERE start = ? AND bus = ? LIMIT 1
"""
NOTHING = {"messages": 0, "missing": 0, "unexpected": 0, "recovered": 0, "no_data": 0}

Cursor = tuple[int, str | bytes, int, str]  # start, id, bus, stage: the order of missing
START: Cursor = (0, "", 0, "")


class CorrectionKind(StrEnum):
    """What has become of a message that a closed window left open."""

    RECOVERED = "recovered"  # it was missing, and came by
    DONE = "done"  # a worker had it, and finished it
    LOST = "lost"  # a worker had it, for too long
    UNKNOWN = "unknown"  # a worker had it, but nobody watched


class Correction(NamedTuple):
    """What is to be written of one open message."""

    kind: CorrectionKind
    start: int  # of its window, ms
    bus: int
    stage: Stage
    fate: MessageTrace


def find(
    db: sqlite3.Connection, now: float, cursor: Cursor, observers: Mapping[int, str]
) -> tuple[list[Correction], Cursor]:
    """Return what is to be corrected of some open messages, and where to go on.

    `observers` are those that watch the workers, by the number of the bus. The cursor
    comes back to START when all that is missing was looked at.
    """
    rows = db.execute(MISSING, (milliseconds(now - LATE), *cursor, AT_ONCE)).fetchall()
    found = []
    for start, id_, bus, stage, *known in rows:
        fate = MessageTrace(id_, known[0], True, *known[1:])
        if fate.reached(Stage(stage)):
            found.append(Correction(CorrectionKind.RECOVERED, start, bus, Stage(stage), fate))
    # An observer's next sign of life may take a while: only then can it have been blind.
    for start, id_, bus, due, *known in db.execute(
        RUNNING, (milliseconds(now - MAX_GAP_SECONDS), AT_ONCE)
    ):
        fate = MessageTrace(id_, known[0], True, *known[1:])
        seen = is_covered(db, observers.get(bus, ""), start / 1000, due / 1000)
        kind = (
            CorrectionKind.DONE
            if fate.finished
            else CorrectionKind.LOST
            if seen
            else CorrectionKind.UNKNOWN
        )
        found.append(Correction(kind, start, bus, Stage.WORKER, fate))
    return found, rows[-1][:4] if len(rows) == AT_ONCE else START


def apply(
    db: sqlite3.Connection, found: Sequence[Correction], now: float, due: Mapping[int, float]
) -> None:
    """Write corrections, inside a transaction of the caller's.

    `due`, by the numbers of the buses whose workers are audited, is when a worker should
    have finished what the listener passed on only now.
    """
    for kind, start, bus, stage, fate in found:
        row = NOTHING | {"start": start, "bus": bus, "topic": fate.topic, "stage": stage}
        if kind is CorrectionKind.RECOVERED:
            came = "UPDATE missing SET recovered_at = ? WHERE id = ? AND bus = ? AND stage = ?"
            db.execute(came, (milliseconds(now), fate.id, bus, stage))
            add(db, row | {"recovered": 1})
            if stage is Stage.LISTENER and bus in due and fate.task is not None:
                run(db, bus, start, fate, due[bus])
            continue
        db.execute("DELETE FROM running WHERE id = ? AND bus = ?", (fate.id, bus))
        if kind is CorrectionKind.DONE:
            add(db, row | {"messages": 1})
        elif kind is CorrectionKind.LOST:
            insert_missing(db, bus, start, stage, fate)
            add(db, row | {"missing": 1})
        elif db.execute(NO_DATA, (start, bus)).rowcount:
            db.execute(SUM, row | {"topic": "", "no_data": 1})


def add(db: sqlite3.Connection, row: Mapping[str, object]) -> None:
    """Add to the line of a window that was closed before, and to the sums."""
    db.execute(WINDOW, row)
    db.execute(SUM, row)


def insert_missing(
    db: sqlite3.Connection, bus: int, start: int, stage: Stage, fate: MessageTrace
) -> None:
    """Note a missing message."""
    new = "INSERT OR IGNORE INTO missing VALUES (?, ?, ?, ?, ?, NULL)"
    db.execute(new, (bus, fate.id, stage, fate.topic, start))


def run(db: sqlite3.Connection, bus: int, start: int, fate: MessageTrace, due: float) -> None:
    """Note a message that a worker has, or is to take, until `due`."""
    new = "INSERT OR IGNORE INTO running VALUES (?, ?, ?, ?, ?)"
    db.execute(new, (bus, fate.id, fate.topic, start, milliseconds(due)))


def prune(db: sqlite3.Connection, horizon: float) -> bool:
    """Forget some of what began before `horizon`, and tell whether there may be more."""
    more = False
    for table, keys in (("windows", "start, bus, topic, stage"), ("missing", "id, bus, stage")):
        old = f"SELECT {keys} FROM {table} WHERE start < ? LIMIT ?"  # noqa: S608 - as above
        gone = f"DELETE FROM {table} WHERE ({keys}) IN ({old})"  # noqa: S608 - as above
        more |= db.execute(gone, (milliseconds(horizon), AT_ONCE)).rowcount == AT_ONCE
    return more
