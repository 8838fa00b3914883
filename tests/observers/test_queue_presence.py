"""What the looks at the listener's queue say of its absences, over restarts of busmon."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from busmon.ledger.ledger import Ledger
from tests.support.ledgers import NOW
from tests.support.queue_looks import GONE, HELD, Look, Looks


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with closing(Ledger(":memory:")) as opened:
        yield opened


def spans(ledger: Ledger, kind: str) -> list[tuple[float, float]]:
    """Return the known times, in seconds."""
    with ledger.read() as tables:
        found = tables.coverage.intervals(f"{kind}:fedora")
    return [(since - NOW, until - NOW) for since, until in found]


def looks(states: str, *, every: int = 60) -> Iterator[Look]:
    """Yield looks: h for held, g for gone, - for one that failed."""
    for number, state in enumerate(states):
        yield NOW + every * number, {"h": HELD, "g": GONE, "-": None}[state]


@pytest.mark.parametrize(
    ("states", "absent", "present"),
    [
        ("hhh", [], [(0, 120)]),
        ("ggg", [], []),  # it was never there
        ("hhgggh", [(60, 300)], [(0, 60), (300, 300)]),
        ("hg-gh", [(0, 240)], [(0, 0), (240, 240)]),
        ("h-gh", [(0, 180)], [(0, 0), (180, 180)]),
        ("h---gh", [(240, 300)], [(0, 0), (300, 300)]),
        ("hg---h", [(0, 60)], [(0, 0), (300, 300)]),
        ("hghgh", [(0, 240)], [(0, 0), (120, 120), (240, 240)]),
    ],
)
def test_an_absence_lasts_from_the_last_good_look_to_the_next(
    states: str,
    absent: list[tuple[float, float]],
    present: list[tuple[float, float]],
    ledger: Ledger,
) -> None:
    Looks(ledger).at(*looks(states))
    assert (spans(ledger, "absent"), spans(ledger, "present")) == (absent, present)


@pytest.mark.parametrize(
    ("states", "again", "since"),
    [("hg", 70, 60), ("hggg", 200, 60), ("hggg", 3600, 3600), ("hghh", 200, 200)],
)
def test_it_is_known_over_a_restart_since_when_a_queue_is_gone(
    states: str, again: int, since: int, ledger: Ledger
) -> None:
    Looks(ledger).at(*looks(states))
    [look] = Looks(ledger).at((NOW + again, GONE)).looks().values()
    assert look.wrong_since == NOW + since


def test_an_absence_goes_on_over_a_restart_of_busmon(ledger: Ledger) -> None:
    every = list(looks("hggh"))
    for look in every:
        Looks(ledger).at(look)
    assert spans(ledger, "absent") == [(0, 180)]
    Looks(ledger).at((NOW + 240, GONE))
    Looks(ledger).at((NOW + 3600, HELD))
    assert spans(ledger, "absent") == [(0, 240)], "nobody looked for an hour"
