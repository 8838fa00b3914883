"""The open and other gaps of a bus, topic or stage, in each engine."""

from itertools import product

import pytest

from busmon.ledger.gaps import Selected
from busmon.ledger.ledger import Ledger
from busmon.ledger.open_messages import State
from busmon.message import Stage
from tests.support.open_gaps import FIRST, Place, leave_open

PLACES = list(product(("centos", "fedora"), "ab", (Stage.LISTENER, Stage.WORKER)))


@pytest.mark.parametrize("state", [State.UNCONFIRMED, State.RECOVERED, State.MISSING])
def test_gaps_of_a_bus_topic_and_stage_are_found(ledger: Ledger, state: State) -> None:
    for place in PLACES:
        leave_open(ledger, Place(0, *place, state))
    with ledger.read() as tables:
        for asked in product((None, "fedora"), (None, "b"), (None, Stage.WORKER)):
            found = (
                tables.gaps.open_windows(FIRST, 99, Selected(*asked))
                if state is State.MISSING
                else tables.gaps.latest(state, 99, Selected(*asked))
            )
            assert sorted((one.bus, one.topic, one.stage) for one in found) == [
                place
                for place in PLACES
                if all(one in {None, of} for one, of in zip(asked, place, strict=True))
            ]
