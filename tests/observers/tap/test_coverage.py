"""Which time the tap has reported on."""

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.tap_reports import NOW, Bench, batch


class Lives:
    """A process of the listener, as its tap reports it; seconds after NOW."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.batches: Counter[str] = Counter()

    def reports(self, at: float, since: float, *, tap: str = "a", **changes: Any) -> None:
        self.batches[tap] += 1
        self.bench.now = NOW + at
        sent = batch(since=at - since, tap=tap, seq=self.batches[tap], **changes)
        assert self.bench.post(sent)[0] == 200

    def covered(self, start: float, end: float) -> bool:
        with self.bench.ledger.read() as tables:
            return tables.coverage.is_covered("tap:fedora", NOW + start, NOW + end)

    def runs(self) -> list[tuple[float, float]]:
        """Return when a listener ran."""
        with self.bench.ledger.read() as tables:
            runs = tables.coverage.intervals("listener:fedora")
        return [(since - NOW, until - NOW) for since, until in runs]


def test_time_is_covered_from_the_first_report_to_the_last(bench: Bench) -> None:
    tap = Lives(bench)
    tap.reports(10, since=0)
    tap.reports(20, since=10)
    assert (tap.covered(0, 20), tap.covered(-1, 20), tap.covered(0, 21)) == (True, False, False)


def test_time_reported_late_is_covered_too(bench: Bench) -> None:
    tap = Lives(bench)
    tap.reports(10, since=0)
    tap.reports(3600, since=10, until=1800)  # half of what waited
    assert (tap.covered(0, 1800), tap.covered(0, 1801)) == (True, False)
    tap.reports(3601, since=1800)
    assert tap.covered(0, 3601)


def test_time_with_lost_reports_is_not_covered(bench: Bench) -> None:
    tap = Lives(bench)
    tap.reports(10, since=0)
    tap.reports(20, since=15, lost=3)
    tap.reports(30, since=20)
    assert (tap.covered(0, 10), tap.covered(15, 30), tap.covered(0, 30)) == (True, True, False)


@pytest.mark.parametrize("restarted", [False, True], ids=["", "busmon restarts meanwhile"])
@pytest.mark.parametrize("ended", [True, False])
def test_a_restart_is_covered_if_the_old_process_reported_everything(
    tmp_path: Path, ended: bool, restarted: bool
) -> None:
    path = str(tmp_path / "ledger.sqlite")
    with closing(Bench(path)) as bench:
        tap = Lives(bench)
        tap.reports(10, since=0, last=ended)
        if restarted:
            tap.bench.close()
            tap.bench = Bench(path)
        tap.reports(20, since=15, tap="b")
        tap.reports(30, since=20, tap="b")
        assert (tap.covered(0, 30), tap.covered(15, 30)) == (ended, True)
        tap.bench.close()


@pytest.mark.parametrize(
    ("last_of_a", "covered"),
    [
        (8, False),  # it is killed as well, before the start of the next one
        (-19, True),  # it was killed long before
    ],
)
def test_a_restart_is_covered_if_no_other_had_more_to_report(
    bench: Bench, last_of_a: float, covered: bool
) -> None:
    tap = Lives(bench)
    tap.reports(last_of_a, since=last_of_a - 1)
    tap.reports(10, since=0, tap="b", last=True)
    tap.reports(13, since=12, tap="c")
    assert tap.covered(0, 13) == covered


def test_an_earlier_batch_that_comes_again_does_not_undo_the_end(bench: Bench) -> None:
    tap = Lives(bench)
    tap.reports(5, since=0)
    tap.reports(10, since=5, last=True)
    tap.batches["a"] = 0
    tap.reports(11, since=6, until=6)  # it waited somewhere on its way
    tap.reports(20, since=15, tap="b")
    assert tap.covered(0, 20)


def test_when_a_listener_ran_is_known_whatever_was_reported(bench: Bench) -> None:
    tap = Lives(bench)
    tap.reports(10, since=0)
    tap.reports(30, since=20, lost=3)
    tap.reports(35, since=30, last=True)
    tap.reports(50, since=40, tap="b")  # the restart is covered, but no listener ran
    tap.reports(60, since=50, tap="b")
    assert tap.runs() == [(0, 35), (40, 60)]


def test_a_reconsumed_message_leaves_the_coverage_as_it_was(bench: Bench) -> None:
    """`fedora-messaging reconsume` has the tap in it, too, for a moment."""
    tap = Lives(bench)
    tap.reports(10, since=0)
    tap.reports(14, since=13, tap="b", last=True)
    tap.reports(20, since=10)
    tap.reports(30, since=20)
    assert tap.covered(0, 30)


def test_batches_with_different_delays_leave_no_gap(bench: Bench) -> None:
    tap = Lives(bench)
    tap.reports(10, since=0)
    tap.reports(20.5, since=10.9)
    assert tap.covered(0, 20.5)


def test_more_than_a_second_between_two_batches_is_not_covered(bench: Bench) -> None:
    tap = Lives(bench)
    tap.reports(10, since=0)
    tap.reports(20.5, since=11.1)
    assert (tap.covered(0, 10), tap.covered(11.1, 20.5), tap.covered(0, 20.5)) == (
        True,
        True,
        False,
    )


def test_after_a_restart_of_busmon_the_tap_continues(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    with closing(Bench(path)) as first:
        tap = Lives(first)
        tap.reports(10, since=0)
    with closing(Bench(path)) as tap.bench:
        tap.reports(600, since=10)
        assert tap.covered(0, 600)
