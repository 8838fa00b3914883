"""The write-ahead log, and the trial whether the disk takes a batch."""

import logging
import resource
from contextlib import closing
from pathlib import Path

import pytest

from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.ledger.sqlite import engine
from busmon.ledger.sqlite.engine import TRIAL_BYTES
from busmon.ledger.sqlite.file import LOG_KEPT_BYTES
from tests.ledger.sql import foreign, foreign_reader, foreign_writer
from tests.support.ledgers import counted, judged


@pytest.fixture
def place(path: str) -> str:
    """Only a ledger in a file has a log of its own."""
    return path


def log_bytes(path: str) -> int:
    return Path(f"{path}-wal").stat().st_size


def test_the_log_is_emptied_as_soon_as_no_reader_needs_it(
    path: str,
    ledger: Ledger,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "MAX_LOG_BYTES", 100_000)
    with foreign_reader(path):
        for start in range(0, 3000, 100):
            ledger.record(judged(*range(start, start + 100)))
            ledger.empty_log()
        assert log_bytes(path) > 100_000
        assert ledger.size()[1] > log_bytes(path)
        assert ledger.problem() is None
    ledger.empty_log()
    assert log_bytes(path) == ledger.log_bytes() == 0
    [warning] = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "because another program reads the ledger for a long time" in warning.getMessage()
    assert counted(ledger) == 3000


def test_a_log_that_had_to_grow_is_cut_down_later(path: str, ledger: Ledger) -> None:
    with foreign(path) as db:
        db.execute(f"INSERT INTO versions VALUES (0, zeroblob({2 * LOG_KEPT_BYTES}))")
        db.execute("DELETE FROM versions WHERE version = 0")
        assert log_bytes(path) > 2 * LOG_KEPT_BYTES
        ledger.record(judged(1))  # it copies the log into the file
        ledger.record(judged(2))  # it begins the log again
        assert log_bytes(path) <= LOG_KEPT_BYTES


def test_a_trial_writes_what_a_batch_takes_and_leaves_nothing(path: str, ledger: Ledger) -> None:
    ledger.empty_log()
    before = ledger.size()
    ledger.check_writable()
    assert log_bytes(path) > TRIAL_BYTES // 2
    ledger.empty_log()
    assert ledger.size() == before


def test_a_trial_fails_as_long_as_nothing_can_be_written(path: str, ledger: Ledger) -> None:
    with foreign_writer(path), pytest.raises(LedgerWriteError, match="database is locked"):
        ledger.check_writable()
    ledger.check_writable()


def test_after_a_trial_the_problem_of_the_last_batch_is_over(path: str, ledger: Ledger) -> None:
    with foreign_writer(path), pytest.raises(LedgerWriteError):
        ledger.record(judged(1))
    with ledger.write():
        pass
    assert ledger.problem() == "ledger: database is locked"  # another write proves too little
    ledger.check_writable()
    assert ledger.problem() is None


def test_a_trial_fails_if_there_is_room_for_a_message_but_not_for_a_batch(path: str) -> None:
    with closing(Ledger(path)) as ledger:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try:
            ledger.record(judged(1))
            with pytest.raises(LedgerWriteError, match="disk"):
                ledger.check_writable()
            assert ledger.problem() is not None
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        ledger.check_writable()
        assert ledger.problem() is None
        assert counted(ledger) == 1
