"""The buses: each has a number, which only the tables know, and busmon's queue on it."""

from collections.abc import Iterable
from uuid import uuid4

from busmon.ledger.connection import Connection
from busmon.ledger.values import milliseconds, seconds


class Buses:
    """The table of buses."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def number(self, name: str) -> int:
        """Return the number of a bus; add the bus if it is new."""
        find = "SELECT id FROM buses WHERE name = ?"
        found = self._db.execute(find, (name,)).fetchone()
        if not found:
            self._db.execute("INSERT INTO buses (name) VALUES (?)", (name,))
            found = self._db.execute(find, (name,)).fetchone()
        return int(found[0])

    def numbers(self, names: Iterable[str]) -> dict[str, int]:
        """Return the number of each bus; add those that are new."""
        return {name: self.number(name) for name in dict.fromkeys(names)}

    def names(self) -> list[str]:
        """Return the names of all buses, also of those that are no longer configured."""
        return [name for (name,) in self._db.execute("SELECT name FROM buses ORDER BY name")]

    def own_queue(self, name: str) -> str:
        """Return the name of busmon's queue on this bus: a UUID, made once."""
        number = self.number(name)
        self._db.execute(
            "UPDATE buses SET queue = ? WHERE id = ? AND queue IS NULL", (str(uuid4()), number)
        )
        (queue,) = self._db.execute("SELECT queue FROM buses WHERE id = ?", (number,)).fetchone()
        return str(queue)

    def tap_reported(self, name: str) -> float | None:
        """Return the Unix time of the last report of a tap, None if none ever came."""
        query = "SELECT tap_reported FROM buses WHERE name = ?"
        found = self._db.execute(query, (name,)).fetchone()
        return seconds(found[0]) if found else None

    def set_tap_reported(self, name: str, now: float) -> None:
        """Write that a tap reported `now`, a Unix time."""
        row = milliseconds(now), self.number(name)
        self._db.execute("UPDATE buses SET tap_reported = ? WHERE id = ?", row)

    def found_queues(self, name: str) -> frozenset[str]:
        """Return the queues of the listener that were ever there on this bus."""
        query = (
            "SELECT found_queues.name FROM found_queues"
            " JOIN buses ON buses.id = found_queues.bus WHERE buses.name = ?"
        )
        return frozenset(queue for (queue,) in self._db.execute(query, (name,)))

    def add_found_queues(self, name: str, queues: Iterable[str]) -> None:
        """Write that these queues of the listener are there."""
        number = self.number(name)
        insert = (
            "INSERT INTO found_queues (bus, name) VALUES (?, ?) ON CONFLICT (bus, name) DO NOTHING"
        )
        self._db.executemany(insert, [(number, queue) for queue in queues])
