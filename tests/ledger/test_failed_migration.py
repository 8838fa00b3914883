"""A migration that cannot be done, fails or is killed leaves the ledger as it was."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from busmon.ledger.errors import LedgerError
from busmon.ledger.ledger import Ledger
from busmon.ledger.sqlite.migrations import STEPS, VERSION, migrate
from tests.ledger.sql import foreign, foreign_writer
from tests.ledger.version_1 import EXPECTED, contents, version, write_sample


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_sample(tmp_path)


def refusal(path: str) -> str:
    with pytest.raises(LedgerError) as refused:
        Ledger(path)
    return str(refused.value)


START = (
    "{path}: has version 1 and must be migrated to version"
    f" {VERSION}, but cannot be copied to {{path}}"
)


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
        f"{path}: the migration from version 1 to {VERSION + 1} failed: no such table: pauses;"
        " the ledger is unchanged"
    )
    assert (version(path), contents(path)) == (1, before)


def kill(_: sqlite3.Connection) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


KILLED_BETWEEN_STEPS = """
import sys
from busmon.ledger.sqlite.migrations import STEPS, migrate
from tests.ledger.sql import foreign
from tests.ledger.test_failed_migration import kill
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
        # On a busy machine, it could have ended before it is killed: the first one cannot begin.
        with nullcontext() if milliseconds else foreign_writer(large):
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


def run_child(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
