"""What the counters and the silence of the topics of one bus say."""

from busmon.archive.opinion import Comparison, Opinion, Opinions
from busmon.diagnosis.facts import LowTopic, SilentTopic, TopicFacts
from busmon.diagnosis.topics import FATAL_SECONDS, received, topic_facts
from busmon.ledger.batch import Count, Series
from busmon.message import Topic
from busmon.silence.state import SilenceState, Volume
from tests.support.ledgers import NOW

COUNTS = {
    Series("fedora", "a", "handled", ""): Count(3, NOW - 50),
    Series("fedora", "a", "ignored", "why"): Count(9, NOW - 40),
    Series("fedora", "b", "error", "rule-raises"): Count(1, NOW - FATAL_SECONDS + 1),
    Series("fedora", "c", "error", "rule-raises"): Count(1, NOW - FATAL_SECONDS - 1),
    Series("fedora", "d", "handled", ""): Count(),
    Series("centos", "e", "handled", ""): Count(5, NOW - 1),
}
STATES = {
    Topic("fedora", "a"): SilenceState(
        silent=False, expected=0.5, limit=9.0, volume=Volume(3.0, 2.0)
    ),
    Topic("fedora", "b"): SilenceState(
        silent=True, expected=40.0, limit=9.0, longest=60.0, last=NOW - FATAL_SECONDS + 1
    ),
    Topic("fedora", "c"): SilenceState(
        silent=True,
        expected=4.0,
        limit=9.0,
        longest=60.0,
        together=True,
        volume=Volume(3.0, 2.0),
        last=NOW - FATAL_SECONDS - 1,
    ),
    Topic("fedora", "missed"): SilenceState(silent=True, longest=60.0, awaited=NOW - 90),
    Topic("fedora", "d"): SilenceState(silent=False, campaigns=True),
    Topic("fedora", "never came"): SilenceState(silent=False, limit=9.0, volume=Volume(1.0, 2.0)),
    Topic("centos", "e"): SilenceState(silent=False, expected=0.1, limit=9.0),
}


def test_only_the_messages_of_the_bus_count() -> None:
    came = received("fedora", COUNTS, NOW)
    assert came.last == {
        "a": NOW - 40,
        "b": NOW - FATAL_SECONDS + 1,
        "c": NOW - FATAL_SECONDS - 1,
    }
    assert (came.handled, came.fatal) == (3, {"b": NOW - FATAL_SECONDS + 1})


def test_a_silent_topic_shows_its_numbers_if_they_are_why_it_is_silent() -> None:
    lost, compared = Opinion(NOW - 9, 5), Comparison(NOW - 9, 3, 2)
    opinions = Opinions({"b": lost, "e": lost}, {"a": compared})
    facts = topic_facts("fedora", received("fedora", COUNTS, NOW), STATES, opinions, NOW)
    assert facts == TopicFacts(
        last=40.0,
        silent=(
            SilentTopic("b", FATAL_SECONDS - 1, 40.0, 9.0, archive=lost),
            # Longer than a configured or usual time.
            SilentTopic("c", FATAL_SECONDS + 1, together=True, within=60.0),
            SilentTopic("missed", 90, came=False, within=60.0),
        ),
        flowing=1,
        overdue=0.5,
        unlearned=0,
        low=(LowTopic("a", 3.0, 2.0, compared),),  # what is silent is not called low
        campaigns=("d",),
        fatal=(("b", FATAL_SECONDS - 1),),
    )
