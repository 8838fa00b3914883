"""The evidence in words, as far as it concerns topics: which are silent or low."""

from collections.abc import Iterable, Iterator, Sequence

from busmon.diagnosis.facts import SilentTopic, TopicFacts
from busmon.text import format_age, format_duration, format_number

MIN_OVERDUE_MESSAGES = 3.0  # of all flowing topics; the chance that none of 3 has come is 1 in 20


def all_silent(topics: TopicFacts) -> bool:
    """Return whether nothing at all comes, and not only nothing of the silent topics.

    Then the newest message of any topic is about as old as that of the silent topic that
    came last, and messages of the topics that are not silent yet are overdue. Or there never was
    a message.
    """
    if not topics.silent or topics.last is None:
        return bool(topics.silent)
    nothing = topics.last >= min(silent.seconds for silent in topics.silent) / 2
    return nothing and (not topics.flowing or (topics.overdue or 0.0) >= MIN_OVERDUE_MESSAGES)


def silence(topics: TopicFacts) -> Iterator[str]:
    """Yield which topics are silent for too long."""
    if all_silent(topics):
        yield (
            f"connected, but no message of any topic has come {_for_how_long(topics)};"
            f" {format_number(len(topics.silent), 'topic')} silent for too long"
        )
    yield from _never_came([silent for silent in topics.silent if not silent.came])
    ordered = sorted((one for one in topics.silent if one.came), key=lambda silent: silent.seconds)
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


def _for_how_long(topics: TopicFacts) -> str:
    if topics.last is None:
        return _since_the_beginning(topics.silent)
    return f"for {format_duration(topics.last)}"


def _since_the_beginning(topics: Iterable[SilentTopic]) -> str:
    longest = max(silent.seconds for silent in topics)
    return f"since busmon began to watch, {format_age(longest)}"


def _never_came(topics: Sequence[SilentTopic]) -> Iterator[str]:
    """Yield which topics have to come, and never did."""
    by_time: dict[float, list[SilentTopic]] = {}
    for silent in topics:
        if silent.within is None:
            yield f"{silent.topic}: no message {_since_the_beginning([silent])}{_usual(silent)}"
        else:
            by_time.setdefault(silent.within, []).append(silent)
    for within, group in by_time.items():
        names = ", ".join(silent.topic for silent in group)
        expected = f"expected within {format_duration(within)}"
        yield f"{names}: no message {_since_the_beginning(group)}; {expected}"


def _silent_topic(silent: SilentTopic) -> str:
    text = f"{silent.topic} has been silent for {format_duration(silent.seconds)}"
    if silent.within is not None:
        return f"{text}, longer than its limit of {format_duration(silent.within)}"
    return f"{text}{_usual(silent)}"


def _usual(silent: SilentTopic) -> str:
    """Return what is usual, to be added to other words; of a topic that is gone it is forgotten."""
    if silent.expected is None or silent.limit is None:
        return ", longer than its limit"
    expected, limit = _about(silent.expected), _about(silent.limit)
    return f": {expected} messages were expected, and the limit is {limit}"


def low(topics: TopicFacts) -> Iterator[str]:
    """Yield of which topics too few messages come, and which are not watched."""
    for topic, deficit, limit in ((one.topic, one.deficit, one.limit) for one in topics.low):
        yield (
            f"too few messages of {topic} come: {_about(deficit)} fewer than 40 % of what is"
            f" usual, and the limit is {_about(limit)}"
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
