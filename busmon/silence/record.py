"""What the ledger keeps of silence: pauses, what lacked on each day, and which topics are gone."""

from collections.abc import Mapping

from busmon.ledger.ledger import Ledger
from busmon.ledger.silence import DeficitRow
from busmon.message import Topic
from busmon.silence.deficit import Deficit
from busmon.silence.learning import NO_DEFICIT, Learned


def recorded(ledger: Ledger, topic: Topic) -> tuple[dict[int, float], Deficit]:
    """Return the longest pause of each day of a topic, and what it lacked. Raises LedgerError."""
    with ledger.read() as tables:
        pauses = tables.silence.pauses(*topic)
        rows = tables.silence.deficits(*topic)
    if not rows:
        return pauses, NO_DEFICIT
    return pauses, Deficit(rows[-1].hour, rows[-1].deficit, {row.day: row.highest for row in rows})


def archived(ledger: Ledger) -> dict[Topic, float]:
    """Return when the newest message of each topic came that was learned from an archive.

    This is the end of its hour, as a Unix time. Raises LedgerError.
    """
    with ledger.read() as tables:
        found = tables.archive_sums.last()
    return {Topic(*topic): 3600.0 * (hour + 1) for topic, hour in found.items()}


def gone_topics(ledger: Ledger) -> dict[Topic, float]:
    """Return the topics that are gone, and when their newest messages came."""
    with ledger.read() as tables:
        return {Topic(*topic): last for topic, last in tables.silence.gone().items()}


def awaited_topics(ledger: Ledger) -> dict[Topic, float]:
    """Return the topics that have never come, and since when busmon has waited for them."""
    with ledger.read() as tables:
        return {Topic(*topic): since for topic, since in tables.silence.awaited().items()}


def save_awaited(ledger: Ledger, since: Mapping[Topic, float]) -> None:
    """Write since when busmon has waited for topics. Raises LedgerWriteError."""
    with ledger.write() as tables:
        tables.silence.set_awaited({(topic.bus, topic.name): at for topic, at in since.items()})


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
        tables.silence.save_deficits(rows)
        tables.silence.set_gone({(topic.bus, topic.name): last for topic, last in gone.items()})
