"""Facts of the topics of a bus, from the counters and the silence of each topic."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from busmon.archive.opinion import Opinion, Opinions
from busmon.diagnosis.facts import LowTopic, SilentTopic, TopicFacts
from busmon.ledger.batch import Count, Series, last_received
from busmon.message import Outcome, Topic
from busmon.silence.state import SilenceState

FATAL_SECONDS = 86400.0  # in which a message that can kill a listener may explain a dead one


class Received(NamedTuple):
    """What came from one bus."""

    last: dict[str, float]  # Unix time of the newest message, by topic
    handled: int  # messages for the listener
    fatal: dict[str, float]  # Unix time of the newest message that can kill a listener, by topic


def received(bus: str, counts: Mapping[Series, Count], now: float) -> Received:
    """Return what came from a bus, by the counters."""
    handled = 0
    fatal: dict[str, float] = {}
    for series, count in counts.items():
        if series.bus != bus or count.last_received is None:
            continue
        if series.outcome == Outcome.HANDLED:
            handled += count.messages
        if series.outcome == Outcome.ERROR and count.last_received > now - FATAL_SECONDS:
            fatal[series.topic] = max(count.last_received, fatal.get(series.topic, 0.0))
    last = {topic: at for (of, topic), at in last_received(counts).items() if of == bus}
    return Received(last, handled, fatal)


def topic_facts(
    bus: str,
    came: Received,
    all_states: Mapping[Topic, SilenceState],
    archive: Opinions,
    now: float,
) -> TopicFacts:
    """Return the facts of the topics of a bus; `all_states` are those of all buses."""
    states = {topic.name: state for topic, state in all_states.items() if topic.bus == bus}
    # A topic that never came does not flow, although it can have a baseline by an archive.
    usual = [states[topic] for topic in came.last if topic in states]
    usual = [state for state in usual if state.ready and not state.silent]
    expected = [state.expected for state in usual if state.expected is not None]
    unlearned = [
        topic
        for topic, state in states.items()
        if topic in came.last
        and not (state.ready or state.silent or state.retired or state.campaigns)
    ]
    return TopicFacts(
        last=now - max(came.last.values()) if came.last else None,
        silent=tuple(_silent(states, archive.silent, now)),
        flowing=len(usual),
        overdue=sum(expected) if expected else None,
        unlearned=len(unlearned),
        low=tuple(
            LowTopic(topic, state.volume.deficit, state.volume.limit, archive.low.get(topic))
            for topic, state in states.items()
            if state.low and state.volume
        ),
        campaigns=tuple(topic for topic, state in states.items() if state.campaigns),
        fatal=tuple((topic, now - came.fatal[topic]) for topic in sorted(came.fatal)),
    )


def _silent(
    states: Mapping[str, SilenceState], archive: Mapping[str, Opinion], now: float
) -> Iterator[SilentTopic]:
    for topic, state in states.items():
        if not state.silent or state.quiet_since is None:
            continue
        learned = (state.expected or 0.0) > (state.limit or 0.0)
        yield SilentTopic(
            topic,
            now - state.quiet_since,
            expected=state.expected if learned else None,
            limit=state.limit if learned else None,
            together=state.together,
            came=state.last is not None,
            within=None if learned else state.longest,
            archive=archive.get(topic),
        )
