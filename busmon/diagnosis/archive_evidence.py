"""The evidence of the archive in words: whether others received what busmon did not."""

from collections.abc import Iterator, Sequence

from busmon.archive.opinion import MIN_LACKING
from busmon.diagnosis.facts import SilentTopic, TopicFacts
from busmon.ledger.differences import Difference
from busmon.text import format_number, format_time

SHOWN_NAMES = 5
SHOWN_IDS = 3


def not_lost(topics: TopicFacts) -> tuple[SilentTopic, ...]:
    """Return the silent topics of which nobody is known to have received more than busmon."""
    return tuple(one for one in topics.silent if not (one.archive and one.archive.lost))


def losses(topics: TopicFacts) -> Iterator[str]:
    """Yield what the archive received, and busmon did not."""
    found = [(one.topic, one.archive) for one in topics.silent if one.archive and one.archive.lost]
    for topic, archive in found[:SHOWN_NAMES]:
        least = "at least " if archive.more else ""
        yield (
            f"the archive has {least}{format_number(archive.lacking, 'message')} of {topic} since"
            f" {format_time(archive.since)}, and busmon received none of them: busmon's own queue"
            " or its bindings are at fault"
        )
    if (more := len(found) - SHOWN_NAMES) > 0:
        yield f"so it is with {format_number(more, 'more topic')}"


def confirmation(topics: TopicFacts) -> Iterator[str]:
    """Yield of which topics the archive received nothing either."""
    if found := [one.topic for one in topics.silent if one.archive and one.archive.confirms]:
        yield f"confirmed by the archive, which has received nothing more either: {_names(found)}"


def unknown(topics: TopicFacts) -> Iterator[str]:
    """Yield of which silent topics the archive does not say whose fault it is, and why."""
    reasons: dict[str, list[str]] = {}
    for topic in topics.silent:
        if not topic.archive or topic.archive.lost or topic.archive.confirms:
            continue
        few = (
            f"it has {format_number(topic.archive.lacking, 'message')} that busmon lacks, and that"
            f" is evidence from {MIN_LACKING} on"
        )
        reasons.setdefault(topic.archive.unknown or few, []).append(topic.topic)
    for reason, names in reasons.items():
        yield f"the archive cannot tell whether messages were lost ({_names(names)}): {reason}"


def comparisons(topics: TopicFacts) -> Iterator[str]:
    """Yield what the archive has of topics of which too few messages come."""
    for low in topics.low[:SHOWN_NAMES]:
        if low.archive:
            since, archive, ours = low.archive
            yield (
                f"since {format_time(since)} the archive has"
                f" {format_number(archive, 'message')} of {low.topic}, and busmon received {ours}"
            )


def differences(found: Sequence[Difference]) -> Iterator[str]:
    """Yield what only the archive has of the last day that was compared."""
    lost = sorted((one for one in found if one.only_archive), key=lambda one: -one.only_archive)
    for one in lost[:SHOWN_NAMES]:
        ids = f": {', '.join(one.archive_ids[:SHOWN_IDS])}" if one.archive_ids else ""
        yield (
            f"on {format_time(one.day * 86400.0)[:10]} the archive has"
            f" {format_number(one.only_archive, 'message')} of {one.topic} that busmon did not"
            f" receive (busmon trace ID){ids}"
        )
    if (more := len(lost) - SHOWN_NAMES) > 0:
        yield f"so it is with {format_number(more, 'more topic')}"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_NAMES])
    more = len(names) - SHOWN_NAMES
    return f"{shown} and {format_number(more, 'more topic')}" if more > 0 else shown
