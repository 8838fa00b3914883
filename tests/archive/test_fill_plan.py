"""How a blind time is filled: tables of cases."""

from collections.abc import Sequence

import pytest

from busmon.archive.bound import BoundTopics
from busmon.archive.client import MAX_MESSAGES, Found, Stored
from busmon.archive.fill_plan import (
    Question,
    Taken,
    begin,
    changes,
    crowded,
    shorter,
    smaller,
    take,
)
from busmon.ledger.filled import Fill, FillState
from busmon.ledger.values import Interval


def found(total: int, *times: float | None) -> Found:
    return Found(total, [Stored(str(n), "a", at) for n, at in enumerate(times)])


@pytest.mark.parametrize(
    ("asked", "answer", "reached", "complete"),
    [
        (Question(100, 200), found(0), 200, True),
        (Question(100, 200), found(2, 110, None), 200, True),
        (Question(100, 200), found(900, 110, 120.9, 130.5), 130, True),
        (Question(100, 200), found(900, 110, 120, None), 120, True),
        (Question(100, 200), found(900, 100, 100.9), None, True),  # more of the same second
        (Question(100, 200), found(900, None, None), None, True),
        (Question(100, 101), found(MAX_MESSAGES, 100, 100), None, True),
        (Question(100, 101), found(MAX_MESSAGES + 1, 100, 100), 101, False),
    ],
)
def test_an_answer_says_up_to_where_all_is_known(
    asked: Question, answer: Found, reached: int | None, complete: bool
) -> None:
    expected = None if reached is None else Taken(answer.messages, reached, complete)
    assert take(asked, answer) == expected


def test_what_is_too_much_is_asked_for_in_smaller_parts() -> None:
    assert crowded(Question(100, 200)) == Question(100, 101)
    assert crowded(Question(100, 101)) == Question(100, 101, rows=0)
    asked: list[Question] = [Question(100, 103)]
    while narrower := smaller(asked[-1]):
        asked.append(narrower)
    assert [(one.until, one.rows) for one in asked] == [
        *((103, 100), (103, 25), (103, 6), (103, 1), (101, 1))
    ]
    assert smaller(Question(100, 101, rows=0)) is None
    assert shorter(Question(0, 3600)) == Question(0, 1800)
    assert shorter(Question(0, 100)) == Question(0, 100)


WAITING, FILLED = FillState.WAITING, FillState.FILLED
DONE = Fill(1000, 1100, FILLED, 1160, 3, 9)


@pytest.mark.parametrize(
    ("known", "blind", "changed", "gone"),
    [
        ([], [], [], []),
        ([], [(1000, 1100)], [Fill(1000, 1100)], []),
        ([DONE], [(1000, 1100)], [], []),
        ([], [(100, 200)], [], []),  # older than the retention
        ([], [(1000, 1100), (1200, 1300)], [Fill(1000, 1300)], []),  # their margins overlap
        ([], [(1000, 1100), (1221, 1300)], [Fill(1000, 1100), Fill(1221, 1300)], []),
        ([DONE], [(1000, 1100), (1150, 1160)], [Fill(1000, 1160, WAITING, 1160, 3, 9)], []),
        ([DONE], [(990, 1100)], [Fill(990, 1100)], [DONE]),  # a queue was lost, as is known now
        ([DONE], [], [], [DONE]),
    ],
)
def test_blind_times_become_fills(
    known: Sequence[Fill],
    blind: Sequence[tuple[float, float]],
    changed: Sequence[Fill],
    gone: Sequence[Fill],
) -> None:
    assert changes(known, [Interval(*one) for one in blind], oldest=500) == (changed, gone)


@pytest.mark.parametrize(
    ("keys", "asked", "has", "lacks"),
    [
        (["b.c", "a.b"], ("a.b", "b.c"), ["a.b"], ["a", "a.b.c", "b"]),
        (["a.*", "b"], (), ["a.b", "b"], ["a", "a.b.c", "c"]),
        (["a.#"], (), ["a", "a.b", "a.b.c"], ["b"]),
        ([f"{n}.{'x' * 200}" for n in range(20)], (), [f"7.{'x' * 200}"], ["7"]),
    ],
)
def test_the_archive_is_asked_for_what_the_queue_is_bound_to(
    keys: list[str], asked: tuple[str, ...], has: list[str], lacks: list[str]
) -> None:
    bound = BoundTopics(keys)
    assert bound.to_ask == asked
    assert all(map(bound.has, has))
    assert not any(map(bound.has, lacks))


@pytest.mark.parametrize(
    ("began", "reached", "expected"),
    [
        (10.0, None, 940),  # with a margin, since clocks differ
        (970.5, None, 970),
        (1000.5, None, 1000),  # the bus is new: nothing of it was received before
        (5000.0, None, 1000),
        (10.0, 1012.0, 1012),
    ],
)
def test_nothing_is_read_of_before_busmon_was_there(
    began: float, reached: float | None, expected: int
) -> None:
    assert begin(Fill(1000.0, 1100.0, reached=reached), began) == expected
