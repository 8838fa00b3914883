"""The counter of each series. Their sum only grows, whatever happens to single messages."""

from collections.abc import Collection

from busmon.ledger.batch import Count, Series
from busmon.ledger.buses import Buses
from busmon.ledger.connection import Connection
from busmon.ledger.values import seconds

# The rows of a merged topic stay, at zero: messages and hourly sums refer to them.
MERGE = """
INSERT INTO series (bus, topic, outcome, reason, filled, messages, last_received, last_sent)
SELECT bus, :into, outcome, reason, filled, messages, last_received, last_sent
FROM series WHERE bus = :bus AND topic = :topic AND messages > 0
ON CONFLICT (bus, topic, outcome, reason, filled) DO UPDATE SET
    messages = series.messages + excluded.messages,
    last_sent = CASE WHEN excluded.last_received > coalesce(series.last_received, 0)
        THEN excluded.last_sent ELSE series.last_sent END,
    last_received = CASE WHEN excluded.last_received > coalesce(series.last_received, 0)
        THEN excluded.last_received ELSE series.last_received END
"""
CLEAR = """
UPDATE series SET messages = 0, last_received = NULL, last_sent = NULL
WHERE bus = :bus AND topic = :topic
"""


class Counters:
    """The counters on disk; recording adds to them."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._buses = Buses(db)

    def all(self) -> dict[Series, Count]:
        """Return every counter above zero, without those of filled messages."""
        rows = self._db.execute(
            "SELECT name, topic, outcome, reason, messages, last_received, last_sent"
            " FROM series JOIN buses ON buses.id = series.bus WHERE messages > 0 AND filled = 0"
        )
        return {
            Series(*labels): Count(messages, seconds(received), seconds(sent))
            for *labels, messages, received, sent in rows
        }

    def topics(self, bus: str) -> set[str]:
        """Return the topics of a bus that have a message, if only a filled one."""
        rows = self._db.execute(
            "SELECT DISTINCT topic FROM series WHERE messages > 0"
            " AND bus = (SELECT id FROM buses WHERE name = ?)",
            (bus,),
        )
        return {topic for (topic,) in rows}

    def merge(self, bus: str, topics: Collection[str], into: str) -> None:
        """Count the messages of these topics as those of another one."""
        number = self._buses.number(bus)
        keys = [{"bus": number, "topic": topic, "into": into} for topic in topics]
        self._db.executemany(MERGE, keys)
        self._db.executemany(CLEAR, keys)

    def duplicates(self) -> dict[str, int]:
        """Return the number of duplicates by bus."""
        return dict(self._db.execute("SELECT name, duplicates FROM buses").fetchall())

    def unknown_schemas(self) -> dict[str, int]:
        """Return the number of messages of unknown schemas by bus."""
        return dict(self._db.execute("SELECT name, unknown_schemas FROM buses").fetchall())
