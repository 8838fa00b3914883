"""What the last closed windows of one bus add up to."""

from busmon.diagnosis.facts import StageCounts
from busmon.diagnosis.stages import RecentWindows
from busmon.ledger.windows import Place, Totals
from busmon.message import Stage

SECONDS = 100.0
BEFORE = {Place("fedora", "a", Stage.LISTENER): Totals(messages=1)}
AFTER = {
    Place("fedora", "a", Stage.LISTENER): Totals(messages=5, missing=2, recovered=1),
    Place("fedora", "b", Stage.LISTENER): Totals(messages=1, unexpected=3),
    Place("centos", "c", Stage.LISTENER): Totals(messages=50, missing=50),
    Place("centos", "c", Stage.WORKER): Totals(messages=50),
}
LOST = {Stage.LISTENER: 1}


def test_the_windows_of_a_bus_are_added_up_by_stage() -> None:
    windows = RecentWindows("fedora", SECONDS)
    windows.add(0.0, BEFORE, {})
    windows.add(10.0, AFTER, LOST)
    assert windows.counts(Stage.LISTENER) == StageCounts(expected=7, missing=1, unexpected=3)
    assert windows.counts(Stage.WORKER) is None


def test_old_messages_that_are_healed_do_not_hide_what_is_lost_now() -> None:
    place = Place("fedora", "a", Stage.LISTENER)
    windows = RecentWindows("fedora", SECONDS)
    windows.add(0.0, {place: Totals(missing=10)}, {Stage.LISTENER: 10})
    windows.add(10.0, {place: Totals(missing=18, recovered=10)}, {Stage.LISTENER: 8})
    counts = windows.counts(Stage.LISTENER)
    assert counts is not None
    assert counts.missing == 8


def test_windows_that_are_not_recent_no_longer_count() -> None:
    windows = RecentWindows("fedora", SECONDS)
    windows.add(0.0, BEFORE, {})
    windows.add(10.0, AFTER, LOST)
    windows.add(10.0 + SECONDS, AFTER, LOST)
    assert windows.counts(Stage.LISTENER) is None
