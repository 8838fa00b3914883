"""Windows of a listener without a tap: only its numbers are compared."""

from contextlib import closing

import pytest

from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.windows import Totals
from busmon.message import Stage
from tests.support.audit import BY_NUMBERS, NOW, AuditBench, NumbersBench

SECONDS = 200


def test_without_a_tap_the_numbers_of_the_listener_are_compared() -> None:
    bench = NumbersBench(SECONDS, lost=range(100, 118, 2))
    with closing(bench.ledger):
        bench.watch("ready", NOW, NOW + SECONDS)
        bench.close(NOW + SECONDS)
        assert bench.totals()[Stage.BUS] == Totals(messages=190)
        assert bench.totals()[Stage.LISTENER] == Totals()
        found = bench.totals("")[Stage.LISTENER]
        assert 0 < found.missing <= 9
        assert (found.messages, found.no_data) == (160 - found.missing, 3)
        windows = bench.listener()
        assert [windows[n] for n in range(4)] == [None, None, None, Totals(messages=10)]
        assert {n for n, totals in windows.items() if totals and totals.missing} <= {11, 12, 13}
        assert bench.missing() == set()
        assert all(row.exact for row in bench.rows(Stage.BUS))


@pytest.mark.parametrize("why", ["a blind time", "a gap", "a restart"])
def test_after_a_break_the_comparison_of_numbers_starts_again(why: str) -> None:
    restart_at = 104 if why == "a restart" else float("inf")
    bench = NumbersBench(SECONDS, lost=range(102, 109), restart_at=restart_at)
    with closing(bench.ledger):
        if why == "a blind time":
            bench.blind((NOW + 103, NOW + 104))
        if why == "a gap":
            bench.watch("ready", NOW, NOW + 103)
        bench.watch("ready", NOW + 104 if why == "a gap" else NOW, NOW + SECONDS)
        bench.close(NOW + SECONDS + MAX_GAP_SECONDS)
        windows = bench.listener()
        assert {totals.missing for totals in windows.values() if totals} == {0}
        unknown = [n for n, totals in windows.items() if totals is None]
        assert unknown[:7] == [0, 1, 2, 10, 11, 12, 13]


def test_a_window_waits_for_the_next_answer_of_the_monitor() -> None:
    """The answer shows that the monitor was there, and what the listener had received."""
    bench = AuditBench(observed=BY_NUMBERS._replace(ready_interval=60))
    with closing(bench.ledger):
        bench.receive("1")
        bench.watch("ready", NOW, NOW + 11)
        assert bench.close(NOW + 12 + MAX_GAP_SECONDS) == 0
        bench.watch("ready", NOW, NOW + 71)
        assert bench.close(NOW + 72) == 6
