"""The ledger: each message is counted once, on disk, whatever happens around it."""

import math
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from busmon.ledger import HOURS_KEPT, Judged, Ledger, NotRecorded, Series, Tally
from busmon.message import Message, Outcome, Verdict
from busmon.storage import LedgerError

NOW = 1_790_000_000.0
HANDLED = Series("fedora", "a.topic", "handled", "")
DAY = 86400.0
GIB = 2**30


def judged(*ids: object, at: float = NOW, bus: str = "fedora", **fields: object) -> list[Judged]:
    """One message each, all handled."""
    verdict = Verdict(Outcome.HANDLED)
    return [
        (Message(bus=bus, id=str(i), topic="a.topic", received_at=at, **fields), verdict)
        for i in ids
    ]


def counted(ledger: Ledger) -> int:
    return sum(tally.messages for tally in ledger.tallies().values())


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ledger.sqlite")


@pytest.fixture
def ledger(path: str) -> Iterator[Ledger]:
    with closing(Ledger(path)) as opened:
        yield opened


# --- counting ---------------------------------------------------------------------------


def test_the_same_id_is_counted_once_in_a_batch_across_batches_and_across_restarts(path: str):
    with closing(Ledger(path)) as ledger:
        first = ledger.record(judged(1, 2, 1))
        assert ([m.id for m, _ in first.new], first.duplicates) == (["1", "2"], 1)
        assert ledger.record(judged(2, 3)).duplicates == 1
    with closing(Ledger(path)) as ledger:
        assert ledger.record(judged(3, 4)).duplicates == 1
        assert ledger.tallies()[HANDLED].messages == 4
        assert ledger.duplicates() == {"fedora": 3}


def test_the_same_id_on_another_bus_is_another_message(ledger: Ledger):
    ledger.record(judged(1))
    assert ledger.record(judged(1, bus="centos")).duplicates == 0
    assert ledger.duplicates() == Counter()


def test_an_id_that_is_judged_otherwise_the_second_time_is_still_a_duplicate(path: str):
    (message, verdict), = judged(1)  # fmt: skip
    with closing(Ledger(path)) as ledger:
        ledger.record([(message, verdict), (message, Verdict(Outcome.IGNORED, "releng"))])
        assert ledger.tallies() == {HANDLED: Tally(1, NOW)}
    with closing(Ledger(path)) as ledger:
        other = HANDLED._replace(outcome="ignored", reason="releng")
        assert ledger.tallies() == {HANDLED: Tally(1, NOW), other: Tally()}


def test_a_digest_that_comes_again_is_another_message_unless_it_is_redelivered(ledger: Ledger):
    again = judged("digest", digest_id=True)
    assert len(ledger.record(again * 3).new) == 3
    assert len(ledger.record(again).new) == 1
    assert ledger.record(judged("digest", digest_id=True, redelivered=True)).duplicates == 1
    assert len(ledger.record(judged("unseen", digest_id=True, redelivered=True)).new) == 1


def test_redelivered_alone_makes_no_duplicate(ledger: Ledger):
    assert len(ledger.record(judged(1, redelivered=True)).new) == 1


UUID_TEXT = "0123abcd-0123-abcd-ef01-0123456789ab"
ODD_IDS = [
    "", " ", "\n", "a\0b", "a\0c",
    "é", "é\ud800", "é\\ud800", "\ud800", "\\ud800", "\ud801", "\ud800" * 36, "x" * 36,
    UUID_TEXT, UUID_TEXT.upper(), UUID_TEXT.replace("-", ""), f"{{{UUID_TEXT}}}",
    f"urn:uuid:{UUID_TEXT}", UUID_TEXT.replace("0", "\u0660"), UUID_TEXT.replace("0", "_", 1),
    UUID(UUID_TEXT).bytes.decode("latin-1"), "y" * 255, "y" * 256, "y" * 10_000, "y" * 9_999 + "z",
]  # fmt: skip


def test_odd_ids_are_all_told_apart_and_all_known_again(path: str):
    with closing(Ledger(path)) as ledger:
        assert [m.id for m, _ in ledger.record(judged(*ODD_IDS)).new] == ODD_IDS
    with closing(Ledger(path)) as ledger:
        assert ledger.record(judged(*ODD_IDS)).duplicates == len(ODD_IDS)


@pytest.mark.parametrize(
    ("sent_at", "kept"),
    [
        (None, None),
        (math.inf, None),
        (-math.inf, None),
        (math.nan, None),
        (1e300, None),
        (0.0, 0.0),
        (1.001, 1.001),
        (NOW + 0.001, NOW + 0.001),
        (253402300799.0, 253402300799.0),  # the end of the year 9999
        (-62135596800.0, -62135596800.0),  # the start of the year 1
    ],
)
def test_a_sent_time_is_kept_if_a_clock_can_show_it(path: str, sent_at: float, kept: float):
    with closing(Ledger(path)) as ledger:
        ledger.record(judged(1, sent_at=sent_at))
        assert ledger.tallies() == {HANDLED: Tally(1, NOW, kept)}
    with closing(Ledger(path)) as ledger:
        assert ledger.tallies() == {HANDLED: Tally(1, NOW, kept)}


def test_the_last_times_are_those_of_the_newest_message_that_has_them(path: str):
    with closing(Ledger(path)) as ledger:
        ledger.record(judged(1, sent_at=NOW - 5))
        ledger.record(judged(2, at=NOW + 0.0014))
        assert ledger.tallies() == {HANDLED: Tally(2, NOW + 0.001, NOW - 5)}
    with closing(Ledger(path)) as ledger:
        assert ledger.tallies() == {HANDLED: Tally(2, NOW + 0.001, NOW - 5)}


def test_known_series_exist_at_zero_and_take_nothing_from_those_counted(ledger: Ledger):
    ledger.record(judged(1))
    other = HANDLED._replace(topic="another.topic")
    ledger.know([HANDLED, other])
    assert ledger.tallies() == {HANDLED: Tally(1, NOW), other: Tally()}


def test_an_empty_batch_is_recorded(ledger: Ledger):
    assert ledger.record([]).new == []


def test_threads_that_record_the_same_messages_count_each_once(ledger: Ledger):
    def work() -> None:
        for start in range(0, 500, 25):
            ledger.record(judged(*range(start, start + 25)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.tallies()[HANDLED].messages == 500
    assert ledger.duplicates() == {"fedora": 1500}


def test_the_queue_of_a_bus_is_a_uuid_made_once(path: str):
    with closing(Ledger(path)) as ledger:
        ledger.record(judged(1))
        queues = [ledger.own_queue(bus) for bus in ("fedora", "new", "fedora")]
        ledger.record(judged(1, bus="new"))
    assert queues[0] == queues[2] != queues[1]
    assert [str(UUID(queue)) for queue in queues] == queues
    with closing(Ledger(path)) as ledger:
        assert [ledger.own_queue(bus) for bus in ("fedora", "new", "fedora")] == queues
        assert counted(ledger) == 2


def test_two_ledgers_in_memory_know_nothing_of_each_other():
    with closing(Ledger(":memory:")) as one, closing(Ledger(":memory:")) as other:
        one.record(judged(1, 2))
        assert (counted(one), counted(other)) == (2, 0)
        assert one.prune(NOW + 2 * DAY, DAY, GIB) is False
        assert one.size()[0] == 0


# --- against a model --------------------------------------------------------------------

MESSAGES = st.builds(
    Message,
    bus=st.sampled_from(["fedora", "centos"]),
    id=st.sampled_from(["", "a", "b", UUID_TEXT, "\ud800", "y" * 300]),
    topic=st.sampled_from(["a.topic", "another.topic"]),
    received_at=st.just(NOW),
    digest_id=st.booleans(),
    redelivered=st.booleans(),
)
BATCHES = st.lists(st.tuples(MESSAGES, st.sampled_from(Outcome).map(Verdict)), max_size=6)


class Model:
    """The ledger as it would be without a disk."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()
        self.messages: Counter[Series] = Counter()
        self.duplicates: Counter[str] = Counter()

    def record(self, batch: list[Judged]) -> None:
        for message, verdict in batch:
            known = (message.bus, message.id) in self.seen
            if known and (message.redelivered or not message.digest_id):
                self.duplicates[message.bus] += 1
            else:
                self.messages[Series(message.bus, message.topic, verdict.outcome, "")] += 1
            self.seen.add((message.bus, message.id))


@given(st.lists(BATCHES | st.sampled_from(["restart", "crash"]), max_size=12))
@settings(max_examples=60, deadline=None)
def test_batches_restarts_and_crashes_in_any_order_leave_what_a_plain_model_has(steps: list):
    """A crash leaves the files as they are at that moment, the write-ahead log among them."""
    model = Model()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory, "0")
        home.mkdir()
        ledger = Ledger(f"{home}/ledger")
        for number, step in enumerate(steps, start=1):
            if isinstance(step, list):
                ledger.record(step)
                model.record(step)
                continue
            if step == "crash":
                home = shutil.copytree(home, Path(directory, str(number)))
            ledger.close()
            ledger = Ledger(f"{home}/ledger")
        with closing(ledger):
            messages = {series: tally.messages for series, tally in ledger.tallies().items()}
            assert Counter(messages) == model.messages
            assert ledger.duplicates() == model.duplicates
            assert ledger.size()[0] == model.messages.total()


# --- another process --------------------------------------------------------------------


class Recorder:
    """A process that records; see tests/recorder.py."""

    def __init__(self, path: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.recorder", path],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def send(self, *words: object) -> None:
        self._process.stdin.write(" ".join(map(str, words)) + "\n")

    def answer(self) -> str:
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


def test_kill_9_in_the_middle_of_a_stream_loses_nothing_and_counts_nothing_twice(path: str):
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


def test_a_second_process_on_the_same_ledger_is_refused_until_the_first_has_ended(path: str):
    with recorder(path) as process:
        assert process.ask("record", 1) == "recorded 1, problem None"
        with pytest.raises(LedgerError) as refusal:
            Ledger(path)
        assert str(refusal.value) == f"{path}: in use by another busmon; each needs its own"
    with closing(Ledger(path)) as ledger:
        assert counted(ledger) == 1


def test_a_file_that_may_not_grow_stops_recording_until_it_may(path: str):
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
def test_what_could_not_be_written_leaves_no_trace(path: str, first: tuple):
    with recorder(path) as process:
        process.send("limit", 0)
        assert process.ask(*first).startswith("not recorded: disk I/O error")
        process.send("limit", -1)
        assert process.ask("record", 1) == "recorded 1, problem None"
    with closing(Ledger(path)) as ledger:
        assert counted(ledger) == 1


@contextmanager
def foreign(path: str) -> Iterator[sqlite3.Connection]:
    """Somebody else's connection to the ledger's file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


def test_a_foreign_reader_in_its_transaction_does_not_hold_up_recording(path: str, ledger: Ledger):
    ledger.record(judged(1))
    with foreign(path) as db:
        db.execute("BEGIN")
        assert db.execute("SELECT count(*) FROM seen").fetchone() == (1,)
        for number in range(2, 200):
            ledger.record(judged(number))
        ledger.prune(NOW, DAY, GIB)
        assert db.execute("SELECT count(*) FROM seen").fetchone() == (1,)
    assert counted(ledger) == 199


def test_a_foreign_writer_stops_recording_but_no_reading_until_it_is_done(
    path: str, ledger: Ledger
):
    ledger.record(judged(1))
    raised = []

    def record() -> None:
        try:
            ledger.record(judged(1, 2))
        except NotRecorded as error:
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


def test_what_comes_after_closing_is_not_recorded(ledger: Ledger):
    ledger.close()
    with pytest.raises(NotRecorded):
        ledger.record(judged(1))


# --- pruning ----------------------------------------------------------------------------


def prune(ledger: Ledger, **limits: float) -> int:
    """Prune to the end; return the number of steps."""
    now = limits.pop("now", NOW)
    steps = 1
    while ledger.prune(now, **{"retention": DAY, "size_limit": GIB} | limits):
        steps += 1
    return steps


def test_what_is_older_than_the_retention_is_forgotten_in_steps_and_stays_counted(path: str):
    with closing(Ledger(path)) as ledger:
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
    with closing(Ledger(path)) as ledger:
        assert (counted(ledger), ledger.size()[0]) == (1301, 1)
        assert ledger.record(judged(1300)).duplicates == 1


def test_the_oldest_are_forgotten_while_the_file_is_too_large(ledger: Ledger):
    ledger.record(judged(*range(5000)))
    rows, full = ledger.size()
    prune(ledger, size_limit=full // 2)
    kept, size = ledger.size()
    assert full // 4 < size <= full // 2
    assert 0 < kept < rows
    assert ledger.pruned == {"age": 0, "size": rows - kept}
    assert ledger.record(judged(*range(5000 - kept, 5000))).duplicates == kept
    assert counted(ledger) == 5000


def test_a_limit_below_the_empty_file_ends_pruning_all_the_same(ledger: Ledger):
    ledger.record(judged(*range(600)))
    assert prune(ledger, size_limit=1) == 2
    assert ledger.size()[0] == 0


def test_rows_and_bytes_are_those_on_disk(path: str):
    with closing(Ledger(path)) as ledger:
        assert ledger.size()[0] == 0
        ledger.record(judged(*range(1000), 1, 2))
        rows, size = ledger.size()
    assert (rows, size) == (1000, Path(path).stat().st_size)
    with closing(Ledger(path)) as ledger:
        assert ledger.size() == (rows, size)


def test_pruning_while_another_thread_records_loses_nothing(path: str, ledger: Ledger):
    recorded = []

    def record() -> None:
        for start in range(0, 6000, 20):
            recorded.extend(ledger.record(judged(*range(start, start + 20))).new)

    recording = threading.Thread(target=record)
    recording.start()
    while recording.is_alive():
        ledger.prune(NOW, DAY, 100_000)
    recording.join()
    prune(ledger, size_limit=100_000)
    assert ledger.pruned["size"] > 0
    assert len(recorded) == counted(ledger) == ledger.size()[0] + ledger.pruned["size"] == 6000
    with foreign(path) as db:
        assert db.execute("SELECT count(*) FROM seen").fetchone()[0] == ledger.size()[0]


def test_the_hourly_sums_are_kept_for_13_months(path: str, ledger: Ledger):
    hours = [0, 1, HOURS_KEPT - 1, HOURS_KEPT, HOURS_KEPT + 1]
    for hour in hours:
        ledger.record(judged(f"{hour}a", f"{hour}b", at=NOW - hour * 3600))
        ledger.record(judged(f"{hour}a", f"{hour}c", at=NOW - hour * 3600))
    prune(ledger)
    with foreign(path) as db:
        kept = db.execute("SELECT hour, messages FROM hours ORDER BY hour DESC").fetchall()
    assert kept == [(NOW // 3600 - hour, 3) for hour in hours[:-1]]


# --- what can't be opened ---------------------------------------------------------------


def refusal(path: str) -> str:
    with pytest.raises(LedgerError) as refused:
        Ledger(path)
    return str(refused.value)


def test_a_missing_directory_is_named(tmp_path: Path):
    there = tmp_path / "missing"
    assert refusal(f"{there}/ledger") == f"{there}: no such directory; make it, writable for busmon"
    there.write_text("a file")
    assert refusal(f"{there}/ledger") == f"{there}: no such directory; make it, writable for busmon"


def test_a_directory_that_can_not_be_written_is_told():
    """Not even root may make a file in /sys."""
    start = "/sys/ledger: can't be written: "
    assert refusal("/sys/ledger") in {
        f"{start}Permission denied",
        f"{start}Operation not permitted",
        f"{start}Read-only file system",
    }


def test_a_name_that_is_too_long_is_told(tmp_path: Path):
    path = f"{tmp_path}/{'x' * 300}/ledger"
    assert refusal(path) == f"{path}: can't be written: File name too long"


def test_a_directory_in_place_of_the_file_is_told(tmp_path: Path):
    assert refusal(str(tmp_path)) == f"{tmp_path}: can't be opened: unable to open database file"


def test_a_file_that_is_no_database_is_told(path: str):
    Path(path).write_bytes(b"something else" * 100)
    assert refusal(path) == (
        f"{path}: damaged: file is not a database; move it away: busmon starts a new one,"
        " with all counters at zero"
    )


def test_damage_behind_an_intact_header_is_told(path: str):
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
            "PRAGMA application_id = 0x6275736D; PRAGMA user_version = 2",
            "written by a newer busmon (schema 2, this one knows 1)",
        ),
    ],
)
def test_another_programs_file_and_a_newer_one_are_refused_and_left_as_they_are(
    path: str, script: str, why: str
):
    with foreign(path) as db:
        db.executescript(script)
    before = Path(path).read_bytes()
    assert refusal(path) == refusal(path) == f"{path}: {why}"
    assert Path(path).read_bytes() == before


def test_a_file_that_was_made_but_not_filled_becomes_a_ledger(path: str):
    Path(path).touch()
    with closing(Ledger(path)) as ledger:
        assert len(ledger.record(judged(1)).new) == 1
