"""The counter of each series. They are kept for ever, whatever happens to single messages."""

import sqlite3

from busmon.ledger.batch import Count, Series
from busmon.ledger.values import seconds


class Counters:
    """The counters on disk; recording adds to them."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def all(self) -> dict[Series, Count]:
        """Return every counter."""
        rows = self._db.execute(
            "SELECT name, topic, outcome, reason, messages, last_received, last_sent"
            " FROM series JOIN buses ON buses.id = series.bus"
        )
        return {
            Series(*labels): Count(messages, seconds(received), seconds(sent))
            for *labels, messages, received, sent in rows
        }

    def duplicates(self) -> dict[str, int]:
        """Return the number of duplicates by bus."""
        return dict(self._db.execute("SELECT name, duplicates FROM buses").fetchall())
