"""What messages are about is stored with them, found by, and deleted with them."""

from collections.abc import Sequence
from contextlib import closing

import pytest

from busmon.ledger.batch import Observation
from busmon.ledger.engines import LedgerPlace
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.ledger.subjects import BLOCK, indexed
from tests.ledger.sql import refusing, rows
from tests.support.ledgers import NOW, judged

DAY = 86400.0
HELLO = ("build 12", "package hello")


def about(keys: Sequence[str], *ids: object, at: float = NOW) -> list[Observation]:
    return judged(*ids, at=at, keys=tuple(keys))


def sets(ledger: Ledger, *keys: str) -> list[int]:
    """Return the numbers of the sets that have one of these keys, the newest block first."""
    with ledger.read() as tables:
        return [
            n
            for block in tables.subjects.blocks(0, 3 * BLOCK, [keys])
            for n in tables.subjects.find(block, [keys])
        ]


def stored(place: LedgerPlace) -> tuple[list[object], list[int]]:
    """Return the set of each message, and how many rows the index and the parts have."""
    subjects = [subject for (subject,) in rows(place, "SELECT subject FROM messages ORDER BY seq")]
    counts = (
        rows(place, f"SELECT count(*) FROM {one}") for one in ("subject_keys", "series_parts")
    )
    return subjects, [count for ((count,),) in counts]


def test_messages_with_the_same_keys_share_a_set_within_their_block(place: LedgerPlace) -> None:
    with closing(Ledger(place)) as ledger:
        ledger.record([*about(HELLO, 1, 2), *judged(3), *about(HELLO[:1], 4)])
        ledger.record(about(HELLO, 5, 5))
    with closing(Ledger(place)) as ledger:  # it does not read the sets of before
        ledger.record([*about(HELLO, 6), *judged(*range(7, BLOCK)), *about(HELLO, "new block")])
        assert sets(ledger, "build 12") == [BLOCK, 1, 4, 6]
        assert sets(ledger, "package hello", "build 13") == [BLOCK, 1, 6]
        assert sets(ledger, "package hell") == []
    subjects, stored_rows = stored(place)
    # The index has complete blocks only.
    assert (subjects[:6], subjects[-1], stored_rows) == ([1, 1, None, 4, 1, 6], BLOCK, [5, 9])


def test_keys_are_written_with_their_batch_or_not_at_all(place: LedgerPlace) -> None:
    with closing(Ledger(place)) as ledger:
        with refusing(place), pytest.raises(LedgerWriteError):
            ledger.record(about(HELLO, 1, 2))
        ledger.record(about(HELLO, 2))
        assert ledger.record(about(("build 13",), 2)).duplicates == 1
        assert (sets(ledger, *HELLO), sets(ledger, "build 13")) == ([1], [])


def test_a_set_that_only_a_duplicate_has_is_not_stored(ledger: Ledger) -> None:
    ledger.record(about(HELLO, 1))
    again = [*about(("build 13",), 1, 2), *about(("build 14",), 1), *about(("build 13",), 3, 3)]
    assert ledger.record(again).duplicates == 3
    assert ledger.record(about(("build 14",), 4)).duplicates == 0
    assert [sets(ledger, f"build {n}") for n in (12, 13, 14)] == [[1], [2], [6]]


def test_keys_are_deleted_with_the_messages_of_their_block(place: LedgerPlace) -> None:
    with closing(Ledger(place)) as ledger:
        for start in range(1, BLOCK, 1024):
            ids = range(start, min(start + 1024, BLOCK))
            ledger.record(about((f"build {start}", "package hello"), *ids, at=NOW - 2 * DAY))
        ledger.record(about(HELLO, "young"))
        assert stored(place)[1] == [8, 9]
        while ledger.prune(NOW, DAY):
            pass
        assert stored(place) == ([BLOCK], [0, 1])
        assert sets(ledger, "package hello") == [BLOCK]
        while ledger.prune(NOW + 2 * DAY, DAY):
            pass
        ledger.record(about(HELLO, "next", at=NOW + 2 * DAY))  # in the same block
        assert stored(place) == ([BLOCK], [0, 1])


def test_a_key_is_not_found_by_another_one_with_the_same_checksum(ledger: Ledger) -> None:
    kept, other = "package plumless", "package buckeroo"
    assert indexed(kept) == indexed(other)
    ledger.record(about((kept,), *range(BLOCK + 1)))  # a complete block, and one that is not
    assert (sets(ledger, kept), sets(ledger, other)) == ([BLOCK, 1], [])
