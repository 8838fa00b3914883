"""Gaps that a person has accepted, and those that were reopened.

The messages of an acceptance can be many, so they are accepted and reopened part by part. Until
that is done the acceptance is pending; whoever finds it so goes on. So a crash leaves nothing
half done for longer than until the next start.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from busmon.ledger.connection import Connection
from busmon.ledger.open_messages import State
from busmon.ledger.values import milliseconds, seconds
from busmon.message import Stage
from busmon.text import format_span, format_time, printable

Key = tuple[int | str | bytes, ...]  # id, bus and stage of an open message

ADD = """
INSERT INTO acceptances (id, accepted_at, who, reason, windows, since, until, bus, topic, stage)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
COLUMNS = """
SELECT id, accepted_at, who, reason, since, until, bus, topic, stage, pending,
    messages, unconfirmed, windows, reverted_at, reverted_by
FROM acceptances
"""
SELECTED = """
FROM open_messages WHERE state IN ('missing', 'unconfirmed') AND start >= :since AND start < :until
    AND (CAST(:bus AS TEXT) IS NULL OR bus = (SELECT buses.id FROM buses WHERE name = :bus))
    AND (CAST(:topic AS TEXT) IS NULL OR topic = :topic)
    AND (CAST(:stage AS TEXT) IS NULL OR stage = :stage)
"""
AMOUNT = f"SELECT state, count(*) {SELECTED} GROUP BY state"
WINDOWS = f"SELECT count(DISTINCT start) {SELECTED}"
# In the order of the key: so the rows of a transaction are on few pages of the file.
MATCHING = f"""
SELECT id, bus, stage, state {SELECTED} {{after}} ORDER BY id, bus, stage LIMIT :limit
"""
AFTER = "AND (id, bus, stage) > (:last_id, :last_bus, :last_stage)"
ACCEPT = """
UPDATE open_messages SET accepted_from = state, state = 'accepted', acceptance = ?, ended_at = ?
WHERE id = ? AND bus = ? AND stage = ? AND state = ?
"""
ADD_COUNTS = """
UPDATE acceptances SET messages = messages + ?, unconfirmed = unconfirmed + ? WHERE id = ?
"""
FINISH = """
UPDATE acceptances SET pending = 0,
    windows = CASE WHEN messages + unconfirmed > 0 THEN windows ELSE 0 END
WHERE id = ?
"""
REOPEN = """
UPDATE open_messages SET state = accepted_from, accepted_from = NULL, acceptance = NULL,
    ended_at = NULL
WHERE (id, bus, stage) IN (SELECT id, bus, stage FROM open_messages WHERE acceptance = ? LIMIT ?)
"""
COUNT = """
SELECT count(CASE WHEN accepted_from = 'missing' THEN 1 END),
    count(CASE WHEN accepted_from = 'unconfirmed' THEN 1 END), count(DISTINCT start)
FROM open_messages WHERE acceptance = ?
"""
MESSAGES = """
SELECT count(*) FROM open_messages WHERE acceptance IS NOT NULL AND until > :since
    AND (CAST(:bus AS TEXT) IS NULL OR bus = (SELECT buses.id FROM buses WHERE name = :bus))
    AND (CAST(:topic AS TEXT) IS NULL OR topic = :topic)
"""


class Selection(NamedTuple):
    """Which gaps; None stands for every bus, topic or stage."""

    since: float  # Unix time: windows that began then or later
    until: float  # and before this time
    bus: str | None = None
    topic: str | None = None
    stage: Stage | None = None


def describe(selection: Selection) -> str:
    """Return a selection for people: "the window from 2026-01-31 12:00:00 UTC, bus fedora"."""
    since, until = selection.since, selection.until
    windows = f"windows from {format_span(since, until)}"
    if until - since <= 1:  # `busmon gaps accept --window`
        windows = f"window from {format_time(since)}"
    chosen = {"bus": selection.bus, "topic": selection.topic, "stage": selection.stage}
    named = (f", {name} {printable(value)}" for name, value in chosen.items() if value is not None)
    return f"the {windows}{''.join(named)}"


class Acceptance(NamedTuple):
    """What a person has accepted; Unix times."""

    number: int
    accepted_at: float
    who: str
    reason: str
    selection: Selection
    pending: bool  # its messages are still being accepted, or reopened
    messages: int  # that were missing
    unconfirmed: int  # other messages, of which it was not known whether they are missing
    windows: int
    reverted_at: float | None
    reverted_by: str | None


class Matching(NamedTuple):
    """An open message that can be accepted."""

    key: Key
    state: State


class Acceptances:
    """What people have accepted."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def windows(self, selection: Selection) -> int:
        """Return of how many windows a selection has open messages."""
        (windows,) = self._db.execute(WINDOWS, _parameters(selection)).fetchone()
        return int(windows)

    def amount(self, selection: Selection) -> dict[State, int]:
        """Return how many open messages a selection has, by state."""
        rows = self._db.execute(AMOUNT, _parameters(selection))
        return {State(state): messages for state, messages in rows}

    def add(self, selection: Selection, windows: int, who: str, reason: str, now: float) -> int:
        """Add an acceptance, of which no message is accepted yet; return its number."""
        (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM acceptances").fetchone()
        row = milliseconds(now), who, reason, windows, *_parameters(selection).values()
        self._db.execute(ADD, (last + 1, *row))
        return int(last + 1)

    def find(self, number: int) -> Acceptance | None:
        """Return the acceptance with this number."""
        return next(self._read("WHERE id = ?", number), None)

    def all(self) -> list[Acceptance]:
        """Return every acceptance, the newest first."""
        return list(self._read("ORDER BY id DESC"))

    def latest(self, limit: int) -> list[Acceptance]:
        """Return the newest acceptances, the newest first."""
        return list(self._read("ORDER BY id DESC LIMIT ?", limit))

    def pending(self) -> Acceptance | None:
        """Return the oldest acceptance whose messages are not all accepted, or reopened, yet."""
        return next(self._read("WHERE pending = 1 ORDER BY id LIMIT 1"), None)

    def matching(self, selection: Selection, after: Key | None, limit: int) -> list[Matching]:
        """Return the next open messages of a selection, `after` that one, up to `limit`."""
        values = _parameters(selection) | {"limit": limit}
        if after:
            values |= zip(("last_id", "last_bus", "last_stage"), after, strict=True)
        rows = self._db.execute(MATCHING.format(after=AFTER if after else ""), values)
        return [Matching((*key,), State(state)) for *key, state in rows]

    def accept(self, number: int, messages: Iterable[Matching], now: float) -> None:
        """Accept these messages, those of them that are still open."""
        at, rows = milliseconds(now), list(messages)
        counts = (
            self._db.executemany(
                ACCEPT, [(number, at, *key, state) for key, state in rows if state is of]
            ).rowcount
            for of in (State.MISSING, State.UNCONFIRMED)
        )
        self._db.execute(ADD_COUNTS, (*counts, number))

    def count(self, number: int) -> tuple[int, int, int]:
        """Return what is still on record of an acceptance: missing, unconfirmed, windows."""
        missing, unconfirmed, windows = self._db.execute(COUNT, (number,)).fetchone()
        return missing, unconfirmed, windows

    def messages(self, since: float, bus: str | None, topic: str | None) -> int:
        """Return how many messages of windows that ended after `since` are accepted."""
        chosen = {"since": milliseconds(since), "bus": bus, "topic": topic}
        return int(self._db.execute(MESSAGES, chosen).fetchone()[0])

    def revert(self, number: int, who: str, now: float) -> None:
        """Write that an acceptance no longer holds; its messages are not reopened yet."""
        self._db.execute(
            "UPDATE acceptances SET reverted_at = ?, reverted_by = ?, pending = 1 WHERE id = ?",
            (milliseconds(now), who, number),
        )

    def reopen(self, number: int, limit: int) -> int:
        """Give some messages the state that they had before; return how many."""
        return self._db.execute(REOPEN, (number, limit)).rowcount

    def finish(self, number: int) -> None:
        """Write that all messages are accepted, or reopened.

        If there was none, somebody else had accepted them meanwhile.
        """
        self._db.execute(FINISH, (number,))

    def prune(self, before: float) -> None:
        """Delete acceptances that are older than this Unix time, and complete."""
        self._db.execute(
            "DELETE FROM acceptances WHERE accepted_at < ? AND pending = 0",
            (milliseconds(before),),
        )

    def _read(self, where: str, *values: int) -> Iterator[Acceptance]:
        for number, at, who, reason, since, until, bus, topic, stage, *rest in self._db.execute(
            COLUMNS + where, values
        ):
            pending, messages, unconfirmed, windows, reverted_at, reverted_by = rest
            place = bus, topic, Stage(stage) if stage else None
            yield Acceptance(
                number,
                at / 1000,
                who,
                reason,
                Selection(since / 1000, until / 1000, *place),
                bool(pending),
                messages,
                unconfirmed,
                windows,
                seconds(reverted_at),
                reverted_by,
            )


def _parameters(selection: Selection) -> dict[str, Any]:
    since, until = milliseconds(selection.since), milliseconds(selection.until)
    return selection._asdict() | {"since": since, "until": until}
