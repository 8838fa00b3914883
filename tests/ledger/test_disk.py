"""The ledger on its disk: killed, starved, locked, damaged, and never counting wrongly."""

import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from busmon import __version__
from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.ledger.sqlite.migrations import VERSION
from tests.ledger.sql import foreign
from tests.support.ledgers import NOW, counted, judged


@pytest.fixture
def place(path: str) -> str:
    """What is tried here is a ledger in a file."""
    return path


def test_no_other_user_may_read_it(path: str) -> None:
    before = os.umask(0)
    try:
        with closing(Ledger(path)) as ledger:
            ledger.record(judged(1))
            modes = {file.name: file.stat().st_mode & 0o777 for file in Path(path).parent.iterdir()}
    finally:
        os.umask(before)
    names = [f"ledger.sqlite{suffix}" for suffix in ("", ".lock", "-wal", "-shm")]
    assert modes == dict.fromkeys(names, 0o600)


# --- another process --------------------------------------------------------------------


class Recorder:
    """A process that records; see tests/support/ledgers.py."""

    def __init__(self, path: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ledgers", path],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def send(self, *words: object) -> None:
        assert self._process.stdin
        self._process.stdin.write(" ".join(map(str, words)) + "\n")

    def answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().rstrip()

    def ask(self, *words: object) -> str:
        self.send(*words)
        return self.answer()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def recorder(path: str) -> Iterator[Recorder]:
    process = Recorder(path)
    try:
        yield process
    finally:
        process.kill()


def test_kill_9_while_recording_loses_nothing_and_doubles_nothing(path: str) -> None:
    """As a broker would, each new process is sent all that was not answered for."""
    batches = [range(start, start + 10) for start in range(0, 6000, 10)]
    chance = random.Random(9)
    answered = 0
    for _ in range(10):
        with recorder(path) as process:
            for batch in batches[answered : answered + 100]:
                process.send("record", *batch)
            for _ in range(chance.randint(1, 50)):
                assert process.answer().startswith("recorded")
                answered += 1
    with closing(Ledger(path)) as ledger:
        assert counted(ledger) >= answered * 10
        for batch in batches[:answered]:
            assert ledger.record(judged(*batch)).new == []
        for batch in batches[answered:]:
            ledger.record(judged(*batch))
        assert counted(ledger) == ledger.size()[0] == 6000


def test_a_second_process_is_refused_until_the_first_has_ended(path: str) -> None:
    with recorder(path) as process:
        assert process.ask("record", 1) == "recorded 1, problem None"
        with pytest.raises(LedgerError) as refusal:
            Ledger(path)
        assert str(refusal.value) == f"{path}: in use by another busmon; each needs its own"
    with closing(Ledger(path)) as ledger:
        assert counted(ledger) == 1


def test_a_file_that_may_not_grow_stops_recording_until_it_may(path: str) -> None:
    """To SQLite the limit of a process's file size is a disk error like any other."""
    all_of_them = "recorded 500, problem None"
    with recorder(path) as process:
        assert process.ask("record", *range(10)) == "recorded 10, problem None"
        process.send("limit", 100_000)
        start = 10
        while (answer := process.ask("record", *range(start, start + 500))) == all_of_them:
            start += 500
        failed = f"not recorded: disk I/O error | ledger: disk I/O error | counted {start}"
        assert answer == failed
        assert process.ask("record", *range(start, start + 500)) == failed
        process.send("limit", -1)
        assert process.ask("record", *range(start, start + 500)) == all_of_them
    with closing(Ledger(path)) as ledger:
        assert counted(ledger) == ledger.size()[0] == start + 500


@pytest.mark.parametrize("first", [("queue", "fedora"), ("record", 1)])
def test_what_could_not_be_written_leaves_no_trace(path: str, first: tuple[object, ...]) -> None:
    with recorder(path) as process:
        process.send("limit", 0)
        assert process.ask(*first).startswith("not recorded: disk I/O error")
        process.send("limit", -1)
        assert process.ask("record", 1) == "recorded 1, problem None"
    with closing(Ledger(path)) as ledger:
        assert counted(ledger) == 1


def test_a_queue_that_was_made_before_needs_no_room(path: str) -> None:
    with recorder(path) as process:
        queue = process.ask("queue", "fedora")
        process.send("limit", 0)
        assert process.ask("queue", "fedora") == queue
        assert process.ask("queue", "centos").startswith("not recorded: disk I/O error")


def test_another_reader_does_not_hold_up_recording(path: str, ledger: Ledger) -> None:
    ledger.record(judged(1))
    with foreign(path) as db:
        db.execute("BEGIN")
        assert db.execute("SELECT count(*) FROM messages").fetchone() == (1,)
        for number in range(2, 200):
            ledger.record(judged(number))
        ledger.prune(NOW, retention=60)
        assert db.execute("SELECT count(*) FROM messages").fetchone() == (1,)
    assert counted(ledger) == 199


def test_another_writer_stops_recording_but_not_reading(path: str, ledger: Ledger) -> None:
    ledger.record(judged(1))
    raised = []

    def record() -> None:
        try:
            ledger.record(judged(1, 2))
        except LedgerWriteError as error:
            raised.append(str(error))

    with foreign(path) as db:
        db.execute("BEGIN IMMEDIATE")
        recording = threading.Thread(target=record)
        recording.start()
        assert (counted(ledger), ledger.duplicates()) == (1, Counter())
        assert ledger.size()[0] == 1
        assert recording.is_alive()
        recording.join()
        assert raised == ["database is locked"]
        assert ledger.problem() == "ledger: database is locked"
        assert (counted(ledger), ledger.duplicates()) == (1, Counter())
    assert ledger.record(judged(1, 2)).duplicates == 1
    assert ledger.problem() is None
    assert counted(ledger) == 2


def test_a_failed_write_is_a_problem_until_one_succeeds(path: str, ledger: Ledger) -> None:
    with foreign(path) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerWriteError), ledger.write():
            pass
        assert ledger.problem() == "ledger: database is locked"
    with ledger.write():
        pass
    assert ledger.problem() is None


# --- what cannot be opened ---------------------------------------------------------------


def refusal(path: str) -> str:
    with pytest.raises(LedgerError) as refused:
        Ledger(path)
    return str(refused.value)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    there = tmp_path / "missing"
    assert refusal(f"{there}/ledger") == f"{there}: no such directory; make it, writable for busmon"
    there.write_text("a file")
    assert refusal(f"{there}/ledger") == f"{there}: no such directory; make it, writable for busmon"


def test_a_directory_that_cannot_be_written_is_reported() -> None:
    """Not even root may make a file in /sys."""
    start = "/sys/ledger: cannot be written: "
    assert refusal("/sys/ledger") in {
        f"{start}Permission denied",
        f"{start}Operation not permitted",
        f"{start}Read-only file system",
    }


def test_a_name_that_is_too_long_is_reported(tmp_path: Path) -> None:
    path = f"{tmp_path}/{'x' * 300}/ledger"
    assert refusal(path) == f"{path}: cannot be written: File name too long"


def test_a_directory_in_place_of_the_file_is_reported(tmp_path: Path) -> None:
    assert refusal(str(tmp_path)) == f"{tmp_path}: is no regular file; name another one"


def test_a_file_that_is_no_database_is_reported(path: str) -> None:
    Path(path).write_bytes(b"something else" * 100)
    assert refusal(path) == (
        f"{path}: not a ledger of busmon, or damaged at its beginning; name another file, or"
        " move it away: busmon starts a new one, with all counters at zero"
    )


def test_damage_behind_an_intact_header_is_reported(path: str) -> None:
    with closing(Ledger(path)) as ledger:
        ledger.record(judged(*range(1000)))
    file = Path(path)
    file.write_bytes(file.read_bytes()[:4096].ljust(file.stat().st_size, b"\xff"))
    assert refusal(path) == (
        f"{path}: damaged: database disk image is malformed; move it away: busmon starts a"
        " new one, with all counters at zero"
    )


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("CREATE TABLE t (x)", "an SQLite file, but not a ledger of busmon"),
        ("PRAGMA user_version = 7", "an SQLite file, but not a ledger of busmon"),
        ("PRAGMA application_id = 7", "an SQLite file, but not a ledger of busmon"),
        (
            "PRAGMA application_id = 0x6275736D; PRAGMA user_version = 99",
            f"written by a newer busmon (ledger version 99; busmon {__version__} knows version"
            f" {VERSION}). Start that busmon again, or restore a backup: then all that was"
            " counted since is lost",
        ),
    ],
)
def test_another_programs_file_and_a_newer_one_are_refused(
    path: str, script: str, why: str
) -> None:
    with foreign(path) as db:
        db.executescript(script)
    before = Path(path).read_bytes()
    assert refusal(path) == refusal(path) == f"{path}: {why}"
    assert Path(path).read_bytes() == before


def test_a_ledger_that_lacks_a_table_is_refused(path: str) -> None:
    Ledger(path).close()
    with foreign(path) as db:
        db.execute("DROP TABLE pauses")
        db.execute("DROP TRIGGER coverage_insert")
    why = f"of version {VERSION}, but lacks coverage_insert, pauses; restore a backup, or move it"
    assert refusal(path).startswith(f"{path}: {why} away: busmon starts a new one,")


def test_a_file_that_was_made_but_not_filled_becomes_a_ledger(path: str) -> None:
    Path(path).touch()
    with closing(Ledger(path)) as ledger:
        assert len(ledger.record(judged(1)).new) == 1
