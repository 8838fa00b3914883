"""What the ledger keeps of silence: pauses, what lacked on each day, and which topics are gone."""

from collections.abc import Mapping
from typing import NamedTuple

from busmon.ledger.hourly import Deficit as DeficitRow
from busmon.ledger.ledger import Ledger
from busmon.silence.deficit import Deficit
from busmon.silence.histories import Topic
from busmon.silence.learning import Learned


class Recorded(NamedTuple):
    """What is on record of each topic."""

    pauses: dict[Topic, dict[int, float]]  # the longest of each day
    deficits: dict[Topic, Deficit]


def recorded(ledger: Ledger) -> Recorded:
    """Return what is on record. Raises LedgerError."""
    found = Recorded({}, {})
    highest: dict[Topic, dict[int, float | None]] = {}
    with ledger.read() as tables:
        for bus, name, day, expected in tables.pauses.all():
            found.pauses.setdefault(Topic(bus, name), {})[day] = expected
        for bus, name, day, most, hour, lacking in tables.pauses.deficits():
            topic = Topic(bus, name)
            highest.setdefault(topic, {})[day] = most
            found.deficits[topic] = Deficit(hour, lacking, highest[topic])
    return found


def gone_topics(ledger: Ledger) -> dict[Topic, float]:
    """Return the topics that are gone, and when their newest messages came."""
    with ledger.read() as tables:
        return {Topic(*topic): last for topic, last in tables.pauses.gone().items()}


def save(ledger: Ledger, learned: Mapping[Topic, Learned], gone: Mapping[Topic, float]) -> None:
    """Write what lacks today, and which topics are gone. Raises LedgerWriteError."""
    rows = [
        DeficitRow(*topic, day, most, deficit.hour, deficit.messages)
        for topic, one in learned.items()
        for deficit in (one.deficit,)
        for day, most in (deficit.highest or {}).items()
        if day >= deficit.hour // 24 - 1
    ]
    with ledger.write() as tables:
        tables.pauses.save_deficits(rows)
        tables.pauses.set_gone({(topic.bus, topic.name): last for topic, last in gone.items()})
