"""The processes of the listener that have a tap, and the sums of their reports."""

import random
from collections import Counter

from busmon.ledger.ledger import Ledger
from busmon.ledger.taps import PROCESSES_KEPT
from tests.support.ledgers import NOW


def test_a_batch_is_new_if_it_and_no_later_one_of_its_process_came(ledger: Ledger) -> None:
    rng, known = random.Random(7), Counter[tuple[str, str]]()
    for _ in range(300):
        bus, tap, seq = rng.choice("ab"), rng.choice("xyz"), rng.randint(1, 60)
        with ledger.write() as tables:
            new = tables.taps.add_batch(bus, tap, seq, NOW, last=False)
        assert new == (seq > known[bus, tap])
        known[bus, tap] = max(known[bus, tap], seq)


def test_a_batch_that_was_not_written_is_new_the_next_time(ledger: Ledger) -> None:
    try:
        with ledger.write() as tables:
            tables.taps.add_batch("a", "x", 1, NOW, last=False)
            raise RuntimeError
    except RuntimeError:
        pass
    with ledger.write() as tables:
        assert tables.taps.add_batch("a", "x", 1, NOW, last=False)


def test_only_the_processes_that_reported_last_are_kept(ledger: Ledger) -> None:
    with ledger.write() as tables:
        tables.taps.add_batch("other", "0", 5, NOW, last=False)
        for number in range(PROCESSES_KEPT + 1):
            tables.taps.add_batch("a", str(number), 5, NOW + number, last=False)
        at = NOW + PROCESSES_KEPT + 1
        again = [tables.taps.add_batch("a", str(one), 5, at, last=False) for one in (1, 0)]
        others = tables.taps.add_batch("other", "0", 5, at, last=False)
    assert (again, others) == ([False, True], False)


def test_of_processes_that_reported_at_one_time_no_more_than_needed_go(ledger: Ledger) -> None:
    """As after the clock was set back; and the one that reports now is kept in any case."""
    taps = [str(number) for number in range(PROCESSES_KEPT + 1)]
    with ledger.write() as tables:
        for tap in taps:
            tables.taps.add_batch("a", tap, 5, NOW, last=False)
        again = [tables.taps.add_batch("a", tap, 5, NOW, last=False) for tap in taps]
        late = [tables.taps.add_batch("a", "late", 5, NOW - 9, last=False) for _ in range(2)]
    assert (sum(again), late) == (1, [True, False])


def test_a_process_that_has_not_ended_is_known_by_its_last_batch(ledger: Ledger) -> None:
    with ledger.write() as tables:
        taps = tables.taps
        taps.add_batch("a", "x", 1, NOW, last=False)
        asked = [taps.has_unended("a", but, at) for but in "xy" for at in (NOW, NOW + 1)]
        taps.add_batch("a", "x", 2, NOW + 1, last=True)
        ended = taps.has_unended("a", "y", NOW)
        elsewhere = taps.has_unended("b", "y", NOW)
    assert (asked, ended, elsewhere) == ([False, False, True, False], False, False)


def test_reports_are_added_up_by_bus_and_state(ledger: Ledger) -> None:
    with ledger.write() as tables:
        tables.taps.count("a", {"passed": 2, "lost": 0})
        tables.taps.count("b", {"passed": 7})
        tables.taps.count("a", {"passed": 3, "raised": 1})
        totals = [tables.taps.totals(bus) for bus in "abc"]
    assert totals == [{"passed": 5, "lost": 0, "raised": 1}, {"passed": 7}, {}]
