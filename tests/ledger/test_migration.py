"""A ledger of an older version is migrated when it is opened, and nothing in it is lost."""

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from busmon import __version__
from busmon.ledger.errors import LedgerError
from busmon.ledger.ledger import Ledger
from busmon.ledger.messages import MessageRecord
from busmon.ledger.migrations import STEPS, VERSION, migrate
from busmon.ledger.sqlite import open_read_only
from busmon.ledger.tables import Tables
from tests.ledger.sql import foreign
from tests.support.ledgers import judged

# A ledger that the last busmon of version 1 wrote by its own classes, fed with a quarter of an
# hour of made-up traffic: four buses, with UUIDs, digests, and ids that are too long or odd;
# messages delivered again; reports of a tap, some late, some missing; events of workers; a
# listener compared by numbers, which restarts and loses messages; times without data; pruning.
# Each table has rows. Beside it is what that busmon's own commands and counters say of it.
SAMPLE = Path(__file__).with_name("version-1.sqlite.gz")
EXPECTED = json.loads(Path(__file__).with_name("version-1.json").read_text())


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(gzip.decompress(SAMPLE.read_bytes()))
    return str(file)


def version(path: str | Path) -> int:
    with foreign(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (found,) = db.execute("PRAGMA user_version").fetchone()
    return int(found)


def contents(path: str | Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows by table."""
    with foreign(path) as db:
        tables = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        return {name: db.execute(f"SELECT * FROM {name}").fetchall() for (name,) in tables}


def schema(path: str | Path) -> set[tuple[Any, ...]]:
    """Return all columns of tables and indexes, with their types and defaults."""
    query = "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'index')"
    with foreign(path) as db:
        return {
            (name, *column)
            for kind, name in db.execute(query).fetchall()
            for column in db.execute(f"PRAGMA {kind}_xinfo({name})").fetchall()
        }


def test_everything_is_as_it_was_before_the_migration(path: str) -> None:
    with closing(Ledger(path)) as ledger:
        counts = [
            [*series, *asdict(count).values()] for series, count in sorted(ledger.counts().items())
        ]
        assert counts == EXPECTED["counts"]
        assert ledger.duplicates() == Counter(EXPECTED["duplicates"])
        assert ledger.size()[0] == EXPECTED["rows"]
        assert {bus: ledger.own_queue(bus) for bus in EXPECTED["queues"]} == EXPECTED["queues"]
        with ledger.write() as tables:
            assert tables.windows.closed_until() == EXPECTED["last_closed"]
            assert [[*place, *of] for place, of in sorted(tables.windows.totals().items())] == (
                EXPECTED["sums"]
            )
            for bus, known in EXPECTED["blind"].items():
                found = tables.blind_times.load(bus, now=0, oldest=0)
                assert json.loads(json.dumps(found)) == known


def test_each_message_is_known_as_it_was_before_the_migration(path: str) -> None:
    Ledger(path).close()
    missing = {
        (gap["start"], gap["until"], gap["bus"], gap["stage"], gap["topic"], message["id"])
        for gap in EXPECTED["gaps"]["gaps"]
        for message in gap["messages"]
    }
    with open_read_only(path) as tables:
        assert set(tables.open_messages.listed(since=0)) == missing
        for identity, known in EXPECTED["traces"].items():
            records = tables.messages.find(identity)
            found = [[*record, *facts_of(tables, record, identity)] for record in records]
            assert found == [list(facts.values()) for facts in known]


def facts_of(tables: Tables, record: MessageRecord, identity: str) -> list[Any]:
    """Return whether the tap watched, and where the message was missing."""
    at = record.received_at or 0
    history = tables.open_messages.history(record.bus, identity)
    missing = [
        {"stage": stage, "window": start, "recovered_at": recovered}
        for stage, start, recovered in history
    ]
    return [tables.coverage.is_covered(f"tap:{record.bus}", at, at), missing]


RENAMED = {
    "seen": "messages",
    "hours": "hourly_sums",
    "blind": "blind_times",
    "observed": "coverage",
    "reports": "tap_reports",
    "listener": "listener_counts",
    "polls": "listener_polls",
    "missing": "missing_messages",
    "running": "running_messages",
    "audited": "audit_totals",
    "closed": "audit_progress",
}


def test_each_row_is_kept(path: str) -> None:
    before = contents(path)
    assert all(before.values())  # so each table is tried
    Ledger(path).close()
    after = contents(path)
    assert after.pop("versions") == [(VERSION, __version__)]
    after["audit_progress"] = [row[1:] for row in after["audit_progress"]]
    after["buses"] = [row[:-1] for row in after["buses"]]
    assert after == {RENAMED.get(name, name): rows for name, rows in before.items()}


def test_a_migrated_ledger_has_the_tables_of_a_new_one(path: str, tmp_path: Path) -> None:
    Ledger(path).close()
    new = tmp_path / "new.sqlite"
    Ledger(str(new)).close()
    assert schema(path) == schema(new)
    assert version(path) == version(new) == VERSION


def test_counting_pruning_and_duplicates_continue(path: str) -> None:
    last = max(found[5] for found in EXPECTED["counts"])
    with closing(Ledger(path)) as ledger:
        ids = ["new", *EXPECTED["traces"]][:4]
        recorded = ledger.record(judged(*ids, at=last, bus="fedora"))
        assert len(recorded.new) < 4
        assert ledger.size()[0] == EXPECTED["rows"] + len(recorded.new)
        while ledger.prune(last + 1000, 0, 1 << 40):
            pass
        assert ledger.size()[0] == 0
    with foreign(path) as db:
        assert db.execute("SELECT count(*) FROM messages").fetchone() == (0,)


def test_the_copy_beside_it_is_the_ledger_as_it_was(path: str, tmp_path: Path) -> None:
    before = contents(path)
    Ledger(path).close()
    copy = tmp_path / "ledger.sqlite.version-1"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert version(copy) == 1
    assert contents(copy) == before
    assert not list(tmp_path.glob("*unfinished*"))


def test_what_is_still_in_the_write_ahead_log_is_in_the_copy(path: str, tmp_path: Path) -> None:
    with foreign(path) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("UPDATE buses SET duplicates = 12345")
        with foreign(path):  # so that closing the first one does not empty the log
            db.close()
            Ledger(path).close()
    rows = contents(tmp_path / "ledger.sqlite.version-1")["buses"]
    assert {row[3] for row in rows} == {12345}
    with closing(Ledger(path)) as ledger:
        assert set(ledger.duplicates().values()) == {12345}


def test_the_second_opening_changes_nothing(path: str, tmp_path: Path) -> None:
    Ledger(path).close()
    copy = tmp_path / "ledger.sqlite.version-1"
    copy.unlink()
    before = contents(path)
    Ledger(path).close()
    assert contents(path) == before
    assert not copy.exists()


def test_a_restored_copy_is_migrated_like_the_first_one(path: str, tmp_path: Path) -> None:
    with closing(Ledger(path)) as ledger:
        ledger.record(judged("lost by restoring"))
    (tmp_path / "ledger.sqlite.version-1").rename(path)
    with closing(Ledger(path)) as ledger:
        assert ledger.size()[0] == EXPECTED["rows"]


# --- what goes wrong --------------------------------------------------------------------


def refusal(path: str) -> str:
    with pytest.raises(LedgerError) as refused:
        Ledger(path)
    return str(refused.value)


START = "{path}: has version 1 and must be migrated to version 2, but cannot be copied to {path}"


def test_without_a_place_for_the_copy_nothing_is_changed(path: str, tmp_path: Path) -> None:
    before = contents(path)
    copy = tmp_path / "ledger.sqlite.version-1"
    copy.mkdir()
    (copy / "file").touch()  # a directory that cannot be replaced
    assert refusal(path).startswith(START.format(path=path))
    assert (version(path), contents(path)) == (1, before)
    assert not list(tmp_path.glob("*unfinished*"))


IN_A_CHILD = """
import resource, sys
from busmon.ledger.errors import LedgerError
from busmon.ledger.ledger import Ledger
path, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
try:
    Ledger(path)
except LedgerError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [40_000, 100_000])
def test_a_disk_that_fails_while_it_is_copied_changes_nothing(
    path: str, tmp_path: Path, limit: int
) -> None:
    before = contents(path)
    done = run_child(IN_A_CHILD, path, str(limit))
    assert done.stdout.startswith(START.format(path=path)), done
    assert done.stdout.endswith("the ledger is unchanged\n")
    assert (version(path), contents(path)) == (1, before)
    assert {file.name for file in tmp_path.iterdir()} <= {"ledger.sqlite", "ledger.sqlite.lock"}


IN_A_NAMESPACE = """
mount -t tmpfs -o size=8m tmpfs "$1" && cp "$2" "$1/ledger.sqlite" && cd "$1" &&
"$3" -c "$4" "$1/ledger.sqlite" -1 && ls
"""


def test_a_full_disk_is_refused_before_anything_is_written(path: str, tmp_path: Path) -> None:
    """A small file system of its own, which no other process sees."""
    disk = tmp_path / "disk"
    disk.mkdir()
    unshare = ["unshare", "--map-root-user", "--mount", "--", "sh", "-c", IN_A_NAMESPACE, "sh"]
    done = subprocess.run(
        [*unshare, str(disk), path, sys.executable, IN_A_CHILD],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    refused, *files = done.stdout.splitlines()
    assert refused.startswith(START.format(path=f"{disk}/ledger.sqlite"))
    assert "it takes 16 MiB and only " in refused
    assert refused.endswith(" MiB are free; the ledger is unchanged")
    assert files == ["ledger.sqlite", "ledger.sqlite.lock"]


def fail(db: sqlite3.Connection) -> None:
    db.execute("DROP TABLE pauses")
    db.execute("SELECT * FROM pauses")


def test_a_step_that_fails_undoes_those_before_it(path: str) -> None:
    before = contents(path)
    with foreign(path) as db, pytest.raises(LedgerError) as failed:
        migrate(db, path, 1, (*STEPS, fail))
    assert str(failed.value) == (
        f"{path}: the migration from version 1 to 3 failed: no such table: pauses; the ledger is"
        " unchanged"
    )
    assert (version(path), contents(path)) == (1, before)


def kill(_: sqlite3.Connection) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


KILLED_BETWEEN_STEPS = """
import sys
from busmon.ledger.migrations import STEPS, migrate
from tests.ledger.sql import foreign
from tests.ledger.test_migration import kill
with foreign(sys.argv[1]) as db:
    db.execute("PRAGMA cache_size = 1")  # so that something is written before the end
    migrate(db, sys.argv[1], 1, (*STEPS, kill))
"""


def test_kill_9_between_two_steps_leaves_the_old_ledger(path: str, tmp_path: Path) -> None:
    before = contents(path)
    assert run_child(KILLED_BETWEEN_STEPS, path).returncode == -signal.SIGKILL
    assert (version(path), contents(path)) == (1, before)
    assert contents(tmp_path / "ledger.sqlite.version-1") == before
    with closing(Ledger(path)) as ledger:
        assert ledger.size()[0] == EXPECTED["rows"]


OPENED = (
    "import sys; from busmon.ledger.ledger import Ledger; print(0, flush=True); Ledger(sys.argv[1])"
)


@pytest.fixture
def large(path: str) -> str:
    """A ledger of version 1 whose migration takes a while: 200,000 messages more."""
    with foreign(path) as db:
        db.executescript(
            "PRAGMA synchronous = OFF; WITH RECURSIVE row (n) AS"
            " (SELECT 1 UNION ALL SELECT n + 1 FROM row LIMIT 200000)"
            " INSERT INTO seen (bus, id, series, received_at)"
            " SELECT 1, randomblob(16), 1, 1790000000000 FROM row;"
            " UPDATE series SET messages = messages + 200000 WHERE id = 1"
        )
    return path


def test_kill_9_at_any_moment_leaves_the_old_ledger_or_the_new_one(
    large: str, tmp_path: Path
) -> None:
    original = Path(large).read_bytes()
    versions = []
    for milliseconds in range(0, 400, 20):
        for file in tmp_path.glob("ledger.sqlite-*"):
            file.unlink()
        Path(large).write_bytes(original)
        child = subprocess.Popen([sys.executable, "-c", OPENED, large], stdout=subprocess.PIPE)
        assert child.stdout
        child.stdout.read(1)  # it begins
        try:
            child.wait(milliseconds / 1000)
        except subprocess.TimeoutExpired:
            child.kill()
        child.communicate()
        versions.append(version(large))
        with closing(Ledger(large)) as ledger:
            assert ledger.size()[0] == EXPECTED["rows"] + 200_000
        assert not list(tmp_path.glob("*unfinished*"))
    assert versions[0] == 1
    assert set(versions) <= {1, VERSION}


# --- other versions ---------------------------------------------------------------------


def test_a_command_that_only_reads_asks_for_the_migration(path: str) -> None:
    with pytest.raises(LedgerError) as refused, open_read_only(path):
        pass
    assert str(refused.value) == (
        f"{path}: written by an older busmon (ledger version 1, this one reads version 2);"
        " start `busmon run` with it once, which migrates it"
    )
    assert version(path) == 1


@pytest.fixture
def newer(path: str) -> str:
    """A ledger that a busmon of the future has migrated."""
    Ledger(path).close()
    with foreign(path) as db:
        db.executescript(
            f"PRAGMA user_version = {VERSION + 1};"
            f" INSERT INTO versions VALUES ({VERSION + 1}, '9.8'); DROP TABLE buses"
        )
    return path


def newer_text(path: str, copy: str) -> str:
    return (
        f"{path}: written by busmon 9.8 (ledger version 3; busmon {__version__} knows version 2)."
        f" Start that busmon again, or restore {copy}: then all that was counted since is lost"
    )


def test_a_newer_ledger_is_refused_and_says_what_to_do(newer: str) -> None:
    before = Path(newer).read_bytes()
    assert refusal(newer) == newer_text(newer, f"{newer}.version-1")
    Path(f"{newer}.version-1").rename(f"{newer}.version-2")
    assert refusal(newer) == newer_text(newer, f"{newer}.version-2")
    Path(f"{newer}.version-2").unlink()
    assert refusal(newer) == newer_text(newer, "a backup")
    with pytest.raises(LedgerError, match=r"written by busmon 9\.8"), open_read_only(newer):
        pass
    assert Path(newer).read_bytes() == before


def run_child(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
