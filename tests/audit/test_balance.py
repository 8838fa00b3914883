"""The books of a window, against a model that counts with sets."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busmon.audit.balance import FINISHED, MessageTrace, Stage, balance, next_window

TOPICS = ("a", "b")
STATES = (None, "received", "started", "retried", "succeeded", "failed")
ALL = (Stage.BUS, Stage.LISTENER, Stage.WORKER)


def fate(
    identity: int, topic: str, handled: bool, report: str | None, state: str | None
) -> MessageTrace:
    return MessageTrace(str(identity), topic, handled, report, report and f"task-{identity}", state)


FATES = st.lists(
    st.tuples(
        st.sampled_from(TOPICS),
        st.booleans(),
        st.sampled_from((None, "passed", "dropped", "raised")),
        st.sampled_from(STATES),
    )
).map(lambda rows: [fate(n, *row) for n, row in enumerate(rows)])
OBSERVED = st.sampled_from([ALL[:n] for n in range(1, len(ALL) + 1)])


@given(FATES, OBSERVED)
def test_the_books_are_what_sets_of_ids_say(fates: list[MessageTrace], observed: tuple[Stage, ...]):
    seen = {f.id for f in fates if f.handled}
    passed = {f.id for f in fates if f.report == "passed"}
    done = {f.id for f in fates if f.state in FINISHED}
    begun = {f.id for f in fates if f.state}
    expected = {
        Stage.BUS: (seen, set()),
        Stage.LISTENER: (seen & passed, seen - passed),
        Stage.WORKER: (seen & passed & done, (seen & passed) - begun),
    }
    books = balance(fates, observed)
    topic_of = {f.id: f.topic for f in fates}
    for stage, (came, missing) in expected.items():
        if stage not in observed:
            came, missing = set(), set()
        lines = {topic: line for (topic, at), line in books.lines.items() if at is stage}
        assert Counter({t: line.messages for t, line in lines.items()}) == Counter(
            topic_of[i] for i in came
        )
        assert Counter({t: line.missing for t, line in lines.items()}) == Counter(
            topic_of[i] for i in missing
        )
        assert {f.id for at, f in books.missing if at is stage} == missing
    unexpected = Counter(f.topic for f in fates if f.id in passed - seen)
    listening = Stage.LISTENER in observed
    assert sum(line.unexpected for line in books.lines.values()) == (
        unexpected.total() if listening else 0
    )
    for topic, number in unexpected.items():
        if listening:
            assert books.lines[topic, Stage.LISTENER].unexpected == number


@given(FATES)
def test_no_message_is_lost_between_two_hops(fates: list[MessageTrace]):
    books = balance(fates, ALL)
    for topic in TOPICS:
        bus, listener, worker = (books.lines[topic, stage] for stage in ALL)
        running = sum(f.topic == topic for f in books.running)
        assert bus.messages == listener.messages + listener.missing
        assert listener.messages == worker.messages + worker.missing + running


@pytest.mark.parametrize(
    ("known", "listener", "worker"),
    [
        (fate(1, "a", True, None, None), "missing", "-"),
        (fate(1, "a", True, "dropped", None), "missing", "-"),
        (fate(1, "a", True, "raised", None), "missing", "-"),
        (fate(1, "a", True, "passed", None), "came", "missing"),
        (fate(1, "a", True, "passed", "retried"), "came", "running"),
        (fate(1, "a", True, "passed", "failed"), "came", "came"),
        (MessageTrace("1", "a", True, "passed"), "came", "-"),
        (fate(1, "a", False, "passed", "succeeded"), "unexpected", "-"),
        (fate(1, "a", False, "dropped", None), "-", "-"),
    ],
)
def test_each_hop_says_of_a_message(known: MessageTrace, listener: str, worker: str):
    books = balance([known], ALL)

    def said(stage: Stage) -> str:
        line = books.lines["a", stage]
        words = {"came": line.messages, "missing": line.missing, "unexpected": line.unexpected}
        words["running"] = len(books.running) if stage is Stage.WORKER else 0
        return " ".join(word for word, number in words.items() if number) or "-"

    assert (said(Stage.LISTENER), said(Stage.WORKER)) == (listener, worker)


@given(st.integers(0, 10**7), st.lists(st.integers(1, 900), min_size=1, max_size=5))
def test_windows_follow_each_other_without_a_hole_whatever_their_length(start: int, lengths):
    for length in lengths:
        end = next_window(start, length)
        assert start < end <= start + length
        assert end % length == 0
        start = end
