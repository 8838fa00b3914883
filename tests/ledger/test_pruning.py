"""Old messages are deleted in small steps, and stay counted."""

import threading
from contextlib import closing
from pathlib import Path

from busmon.ledger.batch import Observation
from busmon.ledger.engines import LedgerPlace
from busmon.ledger.hourly import HOURS_KEPT
from busmon.ledger.ledger import Ledger
from busmon.ledger.shares import ROWS_AT_ONCE
from tests.ledger.sql import rows
from tests.support.ledgers import NOW, counted, judged

DAY = 86400.0
GIB = 2**30


def prune(
    ledger: Ledger, *, now: float = NOW, retention: float = DAY, size_limit: int = GIB
) -> int:
    """Prune to the end; return the number of steps."""
    steps = 1
    ledger.size_limit = size_limit
    while ledger.prune(now, retention):
        steps += 1
    return steps


def test_messages_past_the_retention_are_pruned_but_stay_counted(place: LedgerPlace) -> None:
    with closing(Ledger(place)) as ledger:
        ledger.record(judged(*range(1200), at=NOW - DAY - 0.001))
        ledger.record(judged(*range(1200, 1300), at=NOW - DAY))
        assert prune(ledger) == 3
        assert (ledger.size()[0], ledger.pruned) == (100, {"age": 1200, "size": 0})
        assert prune(ledger) == 1
        assert prune(ledger, now=NOW + DAY) == 1
        assert (ledger.size()[0], ledger.pruned) == (0, {"age": 1300, "size": 0})
        assert prune(ledger) == 1
        ledger.record(judged(1300))
        assert ledger.size()[0] == 1
    with closing(Ledger(place)) as ledger:
        assert (counted(ledger), ledger.size()[0]) == (1301, 1)
        assert ledger.record(judged(1300)).duplicates == 1


def test_an_endless_retention_prunes_nothing(ledger: Ledger) -> None:
    ledger.record(judged(1))
    assert prune(ledger, retention=1e14) == 1
    assert ledger.size()[0] == 1


def test_the_oldest_are_pruned_while_the_file_is_too_large(ledger: Ledger) -> None:
    ledger.record(judged(*range(10_000)))
    ledger.empty_log()
    recorded, full = ledger.size()
    prune(ledger, size_limit=full // 2)
    ledger.empty_log()
    kept, size = ledger.size()
    assert full // 4 < size <= full // 2
    assert 0 < kept < recorded
    assert ledger.pruned == {"age": 0, "size": recorded - kept}
    assert ledger.record(judged(*range(recorded - kept, recorded))).duplicates == kept
    assert counted(ledger) == recorded


def test_a_limit_below_the_empty_file_ends_pruning_all_the_same(ledger: Ledger) -> None:
    ledger.record(judged(*range(600)))
    assert prune(ledger, size_limit=1) == 2
    assert ledger.size()[0] == 0


def test_rows_and_bytes_are_those_on_disk(path: str) -> None:
    with closing(Ledger(path)) as ledger:
        assert ledger.size()[0] == 0
        ledger.record(judged(*range(1000), 1, 2))
        log = Path(f"{path}-wal").stat().st_size
        assert ledger.log_bytes() == log > 0
        before = ledger.size()[1]
        ledger.empty_log()
        assert ledger.size()[1] == before - log
        recorded, size = ledger.size()
    assert (recorded, size) == (1000, Path(path).stat().st_size)
    with closing(Ledger(path)) as ledger:
        assert ledger.size() == (recorded, size)


def test_pruning_while_another_thread_records_loses_nothing(
    place: LedgerPlace, ledger: Ledger
) -> None:
    recorded: list[Observation] = []

    def record() -> None:
        for start in range(0, 6000, 20):
            recorded.extend(ledger.record(judged(*range(start, start + 20))).new)

    ledger.size_limit = 100_000
    recording = threading.Thread(target=record)
    recording.start()
    while recording.is_alive():
        ledger.prune(NOW, DAY)
    recording.join()
    prune(ledger, size_limit=100_000)
    assert ledger.pruned["size"] > 0
    assert len(recorded) == counted(ledger) == ledger.size()[0] + ledger.pruned["size"] == 6000
    assert rows(place, "SELECT count(*) FROM messages") == [(ledger.size()[0],)]


def test_the_hourly_sums_are_kept_for_13_months(place: LedgerPlace, ledger: Ledger) -> None:
    hours = [0, 1, HOURS_KEPT - 1, HOURS_KEPT, HOURS_KEPT + 1]
    for hour in hours:
        ledger.record(judged(f"{hour}a", f"{hour}b", at=NOW - hour * 3600))
        ledger.record(judged(f"{hour}a", f"{hour}c", at=NOW - hour * 3600))
    prune(ledger)
    kept = rows(place, "SELECT hour, messages FROM hourly_sums ORDER BY hour DESC")
    assert kept == [(NOW // 3600 - hour, 3) for hour in hours[:-1]]


def test_gaps_in_the_sequence_of_messages_change_no_number(place: LedgerPlace) -> None:
    with closing(Ledger(place)) as ledger:
        ledger.record(judged(*range(1000), at=NOW - DAY))
        ledger.record(judged(*range(1000, 1010), at=NOW))
    rows(place, "UPDATE messages SET seq = -seq")
    rows(place, "UPDATE messages SET seq = -10 * seq")
    with closing(Ledger(place)) as ledger:
        assert ledger.size()[0] == 1010
        assert ledger.prune(NOW, 3600)
        assert ledger.size()[0] == 1010 - ROWS_AT_ONCE
        assert prune(ledger, retention=3600) == 2
        assert ledger.size()[0] == 10
