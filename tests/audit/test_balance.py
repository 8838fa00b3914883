"""The balance of a window, against a model that counts with sets."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busmon.audit.balance import balance, next_window
from busmon.ledger.messages import FINISHED, MessageTrace
from busmon.ledger.open_messages import State
from busmon.message import Stage

TOPICS = ("a", "b")
STATES = (None, "received", "started", "retried", "succeeded", "failed")
ALL = (Stage.BUS, Stage.LISTENER, Stage.WORKER)


def make_trace(
    number: int, topic: str, handled: bool, report: str | None, state: str | None
) -> MessageTrace:
    return MessageTrace(str(number), topic, handled, report, report and f"task-{number}", state)


TRACES = st.lists(
    st.tuples(
        st.sampled_from(TOPICS),
        st.booleans(),
        st.sampled_from((None, "passed", "dropped", "raised")),
        st.sampled_from(STATES),
    )
).map(lambda rows: [make_trace(n, *row) for n, row in enumerate(rows)])
COVERED = st.sampled_from([ALL[:n] for n in range(1, len(ALL) + 1)])


@given(TRACES, COVERED)
def test_a_balance_is_what_sets_of_ids_give(
    traces: list[MessageTrace], covered: tuple[Stage, ...]
) -> None:
    handled = {trace.id for trace in traces if trace.handled}
    passed = {trace.id for trace in traces if trace.report == "passed"}
    refused = {trace.id for trace in traces if trace.report in {"dropped", "raised"}}
    done = {trace.id for trace in traces if trace.state in FINISHED}
    begun = {trace.id for trace in traces if trace.state}
    nothing: set[str] = set()
    expected = {  # reached, missing, running
        Stage.BUS: (handled, nothing, nothing),
        Stage.LISTENER: (handled & passed, handled - passed, nothing),
        Stage.WORKER: (
            handled & passed & done,
            (handled & passed) - begun,
            handled & passed & begun - done,
        ),
    }
    found = balance(traces, ALL, covered)
    topic_of = {trace.id: trace.topic for trace in traces}
    for stage in ALL:
        reached, missing, running = expected[stage]
        unconfirmed = nothing
        if stage not in covered:
            facts = missing & refused if stage is Stage.LISTENER else nothing
            missing, running, unconfirmed = facts, nothing, (missing | running) - facts
        counts = {topic: counts for (topic, at), counts in found.counts.items() if at is stage}
        assert Counter({topic: of.messages for topic, of in counts.items()}) == Counter(
            topic_of[one] for one in reached
        )
        assert Counter({topic: of.missing for topic, of in counts.items()}) == Counter(
            topic_of[one] for one in missing
        )
        for state, ids in (
            (State.MISSING, missing),
            (State.RUNNING, running),
            (State.UNCONFIRMED, unconfirmed),
        ):
            of_stage = (one for one in found.opened if one.stage is stage and one.state is state)
            assert {one.trace.id for one in of_stage} == ids


@given(TRACES, COVERED)
def test_what_the_rules_ignore_and_the_listener_passed_is_unexpected(
    traces: list[MessageTrace], covered: tuple[Stage, ...]
) -> None:
    found = balance(traces, ALL, covered)
    expected = Counter(trace.topic for trace in traces if trace.passed and not trace.handled)
    counted = {topic: found.counts[topic, Stage.LISTENER].unexpected for topic in TOPICS}
    assert Counter(counted) == (expected if Stage.LISTENER in covered else Counter())
    assert sum(counts.unexpected for counts in found.counts.values()) == sum(counted.values())


@given(TRACES)
def test_no_message_is_lost_between_two_stages(traces: list[MessageTrace]) -> None:
    found = balance(traces, ALL, ALL)
    for topic in TOPICS:
        bus, listener, worker = (found.counts[topic, stage] for stage in ALL)
        running = sum(
            one.trace.topic == topic and one.state is State.RUNNING for one in found.opened
        )
        assert bus.messages == listener.messages + listener.missing
        assert listener.messages == worker.messages + worker.missing + running


@pytest.mark.parametrize(
    ("trace", "listener", "worker"),
    [
        (make_trace(1, "a", True, None, None), "missing", "-"),
        (make_trace(1, "a", True, "dropped", None), "missing", "-"),
        (make_trace(1, "a", True, "raised", None), "missing", "-"),
        (make_trace(1, "a", True, "passed", None), "reached", "missing"),
        (make_trace(1, "a", True, "passed", "retried"), "reached", "running"),
        (make_trace(1, "a", True, "passed", "failed"), "reached", "reached"),
        (MessageTrace("1", "a", True, "passed"), "reached", "-"),
        (make_trace(1, "a", False, "passed", "succeeded"), "unexpected", "-"),
        (make_trace(1, "a", False, "dropped", None), "-", "-"),
    ],
)
def test_a_message_is_judged_at_each_stage(trace: MessageTrace, listener: str, worker: str) -> None:
    found = balance([trace], ALL, ALL)

    def judged(stage: Stage) -> str:
        counts = found.counts["a", stage]
        words = {
            "reached": counts.messages,
            "missing": counts.missing,
            "unexpected": counts.unexpected,
            "running": sum((at, state) == (stage, State.RUNNING) for at, state, _ in found.opened),
        }
        return " ".join(word for word, number in words.items() if number) or "-"

    assert (judged(Stage.LISTENER), judged(Stage.WORKER)) == (listener, worker)


@given(st.integers(0, 10**7), st.lists(st.integers(1, 900), min_size=1, max_size=5))
def test_windows_of_any_length_follow_each_other(start: int, lengths: list[int]) -> None:
    end: float = start
    for length in lengths:
        start, end = int(end), next_window(end, length)
        assert start < end <= start + length
        assert end % length == 0
