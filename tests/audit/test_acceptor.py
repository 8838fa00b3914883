"""Gaps are accepted and reopened: which messages, exactly once, whatever happens meanwhile."""

import threading
from collections import Counter
from pathlib import Path

import pytest

from busmon.audit.acceptor import ROWS_AT_ONCE, Acceptor, CannotReopen
from busmon.ledger.acceptances import Selection
from busmon.ledger.ledger import Ledger
from busmon.ledger.open_messages import State
from busmon.message import Stage
from tests.support.brokers import wait_until
from tests.support.open_gaps import (
    ALL_STATES,
    FIRST,
    WINDOW,
    Place,
    StopsAt,
    accepting,
    found,
    leave_open,
    still_open,
)

ALL = Selection(FIRST, FIRST + 10 * WINDOW)
PLACES = [
    Place(0),
    Place(1),
    Place(1, topic="b"),
    Place(1, bus="centos"),
    Place(2, stage=Stage.WORKER),
    Place(2, stage=Stage.WORKER, state=State.UNCONFIRMED),
    Place(3, state=State.RUNNING),
    Place(3, state=State.RECOVERED),
]


def nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("selection", "accepted"),
    [
        (ALL, {0, 1, 2, 3, 4, 5}),
        (Selection(FIRST, FIRST + 1), {0}),
        (Selection(FIRST + 1, FIRST + WINDOW + 1), {1, 2, 3}),
        (Selection(FIRST + 1, FIRST + 10 * WINDOW, stage=Stage.WORKER), {4, 5}),
        (ALL._replace(topic="b"), {2}),
        (ALL._replace(bus="centos"), {3}),
        (ALL._replace(bus="centos", topic="b"), set[int]()),
        (ALL._replace(bus="nowhere"), set[int]()),
        (Selection(0, FIRST), set[int]()),
    ],
)
def test_just_the_open_messages_of_a_selection_are_accepted(
    selection: Selection, accepted: set[int]
) -> None:
    ledger = Ledger(":memory:")
    for number, place in enumerate(PLACES, 1):
        leave_open(ledger, place, number)
    before = found(ledger, *ALL_STATES)
    acceptor = Acceptor(ledger, nothing)
    with accepting(acceptor):
        result = acceptor.accept(selection, "alice", "purged")
        chosen = [PLACES[n] for n in accepted]
        numbers = {PLACES[n]: n + 1 for n in accepted}
        assert found(ledger, State.ACCEPTED).total() == sum(numbers.values())
        left = Counter({p: n for p, n in before.items() if p not in chosen})
        assert found(ledger, *ALL_STATES) == left
        if result is None:
            assert not accepted
            return
        unconfirmed = numbers.get(PLACES[5], 0)
        assert (result.messages, result.unconfirmed) == (
            sum(numbers.values()) - unconfirmed,
            unconfirmed,
        )
        assert result.windows == len({place.window for place in chosen})
        again = acceptor.reopen(result.number, "bob")
        assert found(ledger, *ALL_STATES) == before
        assert (again.messages, again.unconfirmed) == (result.messages, result.unconfirmed)


def test_only_what_is_accepted_can_be_reopened_and_only_once() -> None:
    ledger = Ledger(":memory:")
    leave_open(ledger, PLACES[0])
    acceptor = Acceptor(ledger, nothing, lambda: FIRST, wait=0)
    with pytest.raises(CannotReopen, match="there is no acceptance 7"):
        acceptor.reopen(7, "bob")
    accepted = acceptor.accept(ALL, "alice", "purged")
    assert accepted
    assert not accepted.finished
    with pytest.raises(CannotReopen, match="acceptance 1 is not complete yet; try again later"):
        acceptor.reopen(1, "bob")
    complete(ledger)
    acceptor.reopen(1, "bob")
    with pytest.raises(CannotReopen, match="was reopened by bob at 2026-03-01 14:05:00 UTC"):
        acceptor.reopen(1, "carol")


def test_of_two_who_accept_the_same_only_the_first_accepts_it() -> None:
    ledger = Ledger(":memory:")
    leave_open(ledger, PLACES[0])
    acceptor = Acceptor(ledger, nothing, wait=0)
    for who in ("alice", "bob"):
        assert acceptor.accept(ALL, who, "purged")
    complete(ledger)
    with ledger.read() as tables:
        counts = {one.who: (one.messages, one.windows) for one in tables.acceptances.all()}
    assert counts == {"alice": (1, 1), "bob": (0, 0)}


def test_a_window_that_is_closed_meanwhile_is_not_accepted() -> None:
    ledger = Ledger(":memory:")
    leave_open(ledger, Place())
    with ledger.write() as tables:
        tables.windows.begin(FIRST + WINDOW)
    assert Acceptor(ledger, nothing, wait=0).accept(ALL, "alice", "purged")
    leave_open(ledger, Place(window=1))
    complete(ledger)
    assert still_open(ledger) == {Place(window=1): 1}


def complete(ledger: Ledger) -> None:
    """Let an acceptor, as after a restart, do all that is pending."""

    def is_complete() -> bool:
        with ledger.read() as tables:
            return tables.acceptances.pending() is None

    with accepting(Acceptor(ledger, nothing)):
        wait_until(is_complete, what="the acceptance to be complete")


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_crash_between_two_transactions_changes_no_count(step: int) -> None:
    ledger, total = Ledger(":memory:"), 2 * ROWS_AT_ONCE + 10
    leave_open(ledger, PLACES[0], total)
    leave_open(ledger, PLACES[5], 7)
    before = still_open(ledger)
    for ask, left in (("accept", Counter[Place]()), ("reopen", before)):
        acceptor = Acceptor(ledger, nothing, wait=0)
        if ask == "accept":
            acceptor.accept(ALL, "alice", "purged")
        else:
            acceptor.reopen(1, "bob")
        acceptor.run(StopsAt(step))
        accepted = found(ledger, State.ACCEPTED).total()
        assert accepted + still_open(ledger).total() == total + 7
        assert accepted != (0 if ask == "accept" else total + 7)
        complete(ledger)
        assert still_open(ledger) == left
    with ledger.read() as tables:
        acceptance = tables.acceptances.find(1)
    assert acceptance
    assert (acceptance.messages, acceptance.unconfirmed, acceptance.windows) == (total, 7, 2)
    assert not acceptance.pending


def test_what_recovers_meanwhile_is_not_accepted_and_the_rest_is(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    leave_open(ledger, PLACES[0], 3)
    changed = threading.Event()
    acceptor = Acceptor(ledger, changed.set, wait=0)
    acceptor.accept(ALL, "alice", "purged")
    with ledger.write() as tables:
        reached = tables.acceptances.matching(ALL, None, 1)
        tables.acceptances.accept(99, reached, FIRST)  # somebody else is faster
    with accepting(acceptor):
        assert changed.wait(60)
    with ledger.read() as tables:
        mine, other = tables.acceptances.count(1), tables.acceptances.count(99)
    assert (mine, other) == ((2, 0, 1), (1, 0, 1))
