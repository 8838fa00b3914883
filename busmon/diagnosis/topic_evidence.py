"""The evidence in words, as far as it concerns topics: which are silent or low."""

from collections.abc import Iterator

from busmon.diagnosis.facts import SilentTopic, TopicFacts
from busmon.text import format_age, format_duration, format_number

MIN_OVERDUE_MESSAGES = 3.0  # of all flowing topics; the chance that none of 3 has come is 1 in 20


def all_silent(topics: TopicFacts) -> bool:
    """Return whether nothing at all comes, and not only nothing of the silent topics.

    Then the newest message of any topic is about as old as that of the silent topic that
    came last, and messages of the topics that are not silent yet are overdue.
    """
    if not topics.silent or topics.last is None:
        return False
    nothing = topics.last >= min(silent.seconds for silent in topics.silent) / 2
    return nothing and (not topics.flowing or (topics.overdue or 0.0) >= MIN_OVERDUE_MESSAGES)


def silence(topics: TopicFacts) -> Iterator[str]:
    """Yield which topics are silent for too long."""
    if all_silent(topics) and topics.last is not None:
        yield (
            f"connected, but no message of any topic has come for {format_duration(topics.last)};"
            f" {format_number(len(topics.silent), 'topic')} silent for too long"
        )
    ordered = sorted(topics.silent, key=lambda silent: silent.seconds)
    if group := [silent.topic for silent in ordered if silent.together]:
        yield (
            f"{format_number(len(group), 'topic')} became silent at about the same time, so one"
            f" cause is likely: {', '.join(group)}"
        )
    for silent in ordered:
        if not silent.together:
            yield _silent_topic(silent)
    if topics.silent and not all_silent(topics):
        yield others(topics)


def others(topics: TopicFacts) -> str:
    """Return how many topics are not silent."""
    if topics.unlearned and not topics.flowing:
        unlearned = format_number(topics.unlearned, "other topic")
        return f"{unlearned} without a baseline yet{newest(topics)}"
    return f"{format_number(topics.flowing, 'other topic')} as usual{newest(topics)}"


def _silent_topic(silent: SilentTopic) -> str:
    text = f"{silent.topic} has been silent for {format_duration(silent.seconds)}"
    if silent.expected is None or silent.limit is None:
        return f"{text}, longer than its limit"
    expected, limit = _about(silent.expected), _about(silent.limit)
    return f"{text}: {expected} messages were expected, and the limit is {limit}"


def low(topics: TopicFacts) -> Iterator[str]:
    """Yield of which topics too few messages come, and which are not watched."""
    for topic, deficit, limit in ((one.topic, one.deficit, one.limit) for one in topics.low):
        yield (
            f"too few messages of {topic} come: {_about(deficit)} lack to 40 % of what is usual,"
            f" and the limit is {_about(limit)}"
        )
    for name in topics.campaigns:
        yield (
            f"{name} comes in campaigns, some days on and many off: its silence is only watched"
            " with max_silence in [silence]"
        )


def newest(topics: TopicFacts) -> str:
    """Return when the newest message came, to be added to other words."""
    if topics.last is None:
        return ""
    return f"; the newest message came {format_age(topics.last)}"


def _about(messages: float) -> str:
    return f"{messages:.0f}" if messages >= 10 else f"{messages:.1f}"
