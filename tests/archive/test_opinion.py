"""What an answer of the archive says, and what it does not."""

import pytest

from busmon.archive.client import Found, Stored
from busmon.archive.opinion import Comparison, Newest, Opinion, holes, judge, silent_span
from busmon.ledger.values import Interval
from tests.support.ledgers import NOW

HOUR, DAY = 3600.0, 86400.0
LAGS = "it is only up to date until 2026-09-21 {} UTC"


@pytest.mark.parametrize(
    ("newest", "settled", "span"),
    [
        # Sent at most in the second in which its newest message was sent: it may have others.
        (Newest(NOW - DAY, NOW - DAY - 5), NOW - 300, (NOW - DAY - 4, NOW - 300)),
        (Newest(NOW - DAY), NOW - 300, (NOW - DAY + 1, NOW - 300)),
        (Newest(NOW - 90 * DAY), NOW - 300, (NOW - 300 - 7 * DAY, NOW - 300)),
        # It came late, out of a queue: what was sent since is asked for.
        (Newest(NOW - HOUR, NOW - DAY), NOW - 300, (NOW - DAY + 1, NOW - 300)),
        (Newest(NOW - HOUR, NOW - HOUR + 61), NOW - 300, "the clock of the publisher is ahead"),
        (Newest(NOW - HOUR), NOW - 2000.0, LAGS.format("13:40:00")),
        # busmon's newest message is newer than the archive's.
        (Newest(NOW - HOUR), NOW - 2 * HOUR, LAGS.format("12:13:20")),
    ],
)
def test_the_archive_is_asked_for_the_silence_as_far_as_it_knows_it(
    newest: Newest, settled: float, span: tuple[float, float] | str
) -> None:
    assert silent_span(newest, settled, NOW) == span


def found(*messages: Stored, total: int = 0) -> Found:
    return Found(max(total, len(messages)), list(messages))


A, B = Stored("a", "t", NOW - 900), Stored("b", "t", NOW - 800)
AHEAD, UNTIMED = Stored("ahead", "t", NOW), Stored("untimed", "t", None)


@pytest.mark.parametrize(
    ("answer", "blind", "lost", "confirms"),
    [
        (found(), (), False, True),
        (found(A, B), (), True, False),
        (found(A, A), (), False, False),  # one, maybe with the time of a wrong clock
        (found(*[Stored("known", "t", NOW)] * 3), (), False, True),
        (found(*[UNTIMED] * 3), (), False, True),  # the time when it came there
        (found(A, B), (Interval(NOW - 850, NOW - 840),), False, True),  # with a margin
        (found(A, B, AHEAD), (Interval(NOW - 999, NOW - 840),), False, False),
        (found(A, B, total=500), (), True, False),
    ],
)
def test_only_messages_that_the_ledger_lacks_are_evidence(
    answer: Found, blind: tuple[Interval, ...], *, lost: bool, confirms: bool
) -> None:
    opinion = judge(NOW - 1000, answer, {"known"}, blind)
    assert (opinion.lost, opinion.confirms) == (lost, confirms)
    assert opinion.more is (answer.total == 500)


def test_an_archive_that_cannot_tell_blames_and_confirms_nothing() -> None:
    for lacking in (0, 1, 5):
        opinion = Opinion(NOW, lacking, unknown="it does not answer")
        assert (opinion.lost, opinion.confirms) == (False, False)


@pytest.mark.parametrize(
    ("archive", "ours", "problem"), [(0, 10, False), (890, 1000, False), (889, 1000, True)]
)
def test_an_archive_that_lacks_much_of_what_came_has_holes(
    archive: int, ours: int, *, problem: bool
) -> None:
    assert bool(holes(Comparison(NOW, archive, ours))) is problem
