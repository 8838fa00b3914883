"""Incidents: the times in which the verdict on a bus was not that all is well."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from busmon.ledger.connection import Connection
from busmon.ledger.values import milliseconds, seconds

SAVE = """
INSERT INTO incidents (bus, kind, began, seen, ended, away, first_evidence, last_evidence)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bus, kind, began) DO UPDATE SET seen = excluded.seen, ended = excluded.ended,
    away = excluded.away, last_evidence = excluded.last_evidence
"""
LOSSES = """
SELECT name, stage, state, count(*), start, until
FROM open_messages JOIN buses ON buses.id = open_messages.bus
WHERE until > ? GROUP BY name, start, until, stage, state ORDER BY start, until
"""
READ = "SELECT bus, kind, began, seen, ended, away, first_evidence, last_evidence FROM incidents"


class Incident(NamedTuple):
    """A time in which one kind of fault was the verdict on a bus; Unix times.

    If `ended` is later than `seen`, busmon does not know what was in between: it did not run.
    """

    bus: str
    kind: str
    began: float
    seen: float  # until then it is known to have lasted
    ended: float | None = None  # by then it was over; None: it lasts, or busmon does not run
    away: float = 0.0  # seconds of it in which busmon did not run
    first_evidence: tuple[str, ...] = ()  # lines without line breaks
    last_evidence: tuple[str, ...] = ()


class Loss(NamedTuple):
    """Messages that windows left open, and what became of them; Unix times."""

    stage: str
    state: str
    messages: int
    start: float  # of the oldest window
    until: float  # end of the newest one


class Incidents:
    """The incidents of all buses."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def save(self, incidents: Iterable[Incident]) -> None:
        """Write how these incidents are now. Bus, kind and begin identify one."""
        self._db.executemany(SAVE, map(_row, incidents))

    def open(self) -> list[Incident]:
        """Return those whose end is not known."""
        return self._read(f"{READ} WHERE ended IS NULL ORDER BY began, id")

    def latest(self, number: int) -> list[Incident]:
        """Return the last so many that began, oldest first."""
        return self._read(f"{READ} ORDER BY began DESC, id DESC LIMIT ?", number)[::-1]

    def listed(self, since: float, bus: str | None = None) -> list[Incident]:
        """Return those that lasted until after `since`, in order of their begin."""
        return self._read(
            f"{READ} WHERE coalesce(ended, seen) > ? AND bus = coalesce(?, bus) ORDER BY began, id",
            milliseconds(since),
            bus,
        )

    def losses(self, since: float) -> dict[str, list[Loss]]:
        """Return what each window that ended after `since` left open: by bus, in order of time."""
        found = defaultdict[str, list[Loss]](list)
        for bus, stage, state, messages, start, end in self._db.execute(
            LOSSES, (milliseconds(since),)
        ):
            found[bus].append(Loss(stage, state, messages, start / 1000, end / 1000))
        return found

    def _read(self, query: str, *parameters: int | str | None) -> list[Incident]:
        return [_incident(*row) for row in self._db.execute(query, parameters)]


def _incident(
    bus: str, kind: str, began: int, seen: int, ended: int | None, away: int, *evidence: str
) -> Incident:
    lines = (tuple(text.split("\n")) if text else () for text in evidence)
    return Incident(bus, kind, began / 1000, seen / 1000, seconds(ended), away / 1000, *lines)


def _row(incident: Incident) -> Sequence[str | int | None]:
    times = map(milliseconds, incident[2:6])
    evidence = map("\n".join, incident[6:])
    return incident.bus, incident.kind, *times, *evidence
