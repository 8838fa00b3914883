"""A ledger that another user prepared is refused; busmon's own deployments are not."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from busmon.ledger.engines import open_read_only
from busmon.ledger.errors import LedgerError
from busmon.ledger.ledger import Ledger
from tests.support.ledgers import counted, judged

# The files are given to other users. CI runs as root, so it skips nothing.
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
USER, OTHER, ROOT_GROUP, FS_GROUP = 1000770000, 1001, 0, 1000780000


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can enter, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


def as_user(user: int, groups: list[int], run: Callable[[], str]) -> str:
    """Return what a function returns in a process of this user, or its error."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            os.setgroups(groups)
            os.setgid(groups[0])
            os.setuid(user)
            answer = run()
        except BaseException as error:  # noqa: BLE001 - the parent shows it
            answer = f"{type(error).__name__}: {error}"
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, encoding="utf-8") as answer_of_child:
        return answer_of_child.read()


def count_one(path: Path, message: int) -> Callable[[], str]:
    """Return a function that opens the ledger, counts a message and reads it, too."""

    def run() -> str:
        with closing(Ledger(str(path))) as ledger:
            ledger.record(judged(message))
            with open_read_only(str(path)) as tables:
                return f"{counted(ledger)} of {tables.messages.count()}"

    return run


def make(directory: Path, user: int, group: int, mode: int) -> Path:
    directory.mkdir()
    os.chown(directory, user, group)
    directory.chmod(mode)
    return directory / "ledger.sqlite"


@as_root
def test_the_images_directory_serves_any_user_of_group_0(place: Path) -> None:
    path = make(place / "busmon", OTHER, ROOT_GROUP, 0o770)
    assert as_user(USER, [ROOT_GROUP], count_one(path, 1)) == "1 of 1"
    assert as_user(USER, [ROOT_GROUP], count_one(path, 2)) == "2 of 2"


@as_root
def test_a_volume_with_fs_group_serves_its_user(place: Path) -> None:
    path = make(place / "volume", 0, FS_GROUP, 0o2775)
    groups = [ROOT_GROUP, FS_GROUP]
    assert as_user(USER, groups, count_one(path, 1)) == "1 of 1"
    for file in path.parent.iterdir():  # what the kubelet does with a volume that it mounts
        os.chown(file, -1, FS_GROUP)
        file.chmod(file.stat().st_mode | 0o660)
    assert as_user(USER, groups, count_one(path, 2)) == "2 of 2"


@as_root
def test_the_state_directory_of_a_dynamic_user_may_be_a_link(place: Path) -> None:
    (place / "private").mkdir()
    make(place / "private/busmon", USER, USER, 0o700)
    (place / "busmon").symlink_to("private/busmon")
    path = place / "busmon/ledger.sqlite"
    assert as_user(USER, [USER], count_one(path, 1)) == "1 of 1"
    assert as_user(USER, [USER], count_one(path, 2)) == "2 of 2"


@as_root
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal", ".lock"])
def test_a_file_of_another_user_is_refused_but_root_may_read_it(place: Path, suffix: str) -> None:
    path = make(place / "shared", 0, 0, 0o1777)
    Ledger(str(path)).close()
    for file in path.parent.iterdir():
        os.chown(file, USER, USER)
    foreign = Path(f"{path}{suffix}")
    foreign.touch()
    os.chown(foreign, OTHER, OTHER)
    refused = (
        f"LedgerError: {foreign}: belongs to user {OTHER}, and busmon runs as user {USER};"
        f" if you trust it, give it to user {USER} (chown)"
    )
    assert as_user(USER, [USER], count_one(path, 1)) == refused
    with pytest.raises(LedgerError, match=f"belongs to user {USER if suffix else OTHER}, "):
        Ledger(str(path))
    with open_read_only(str(path)) as tables:
        assert tables.messages.count() == 0


def refusal(path: Path) -> str:
    """Return why nobody opens it, neither for writing nor for reading."""
    with pytest.raises(LedgerError) as writing:
        Ledger(str(path))
    with pytest.raises(LedgerError, match=re.escape(str(writing.value))), open_read_only(str(path)):
        pass
    return str(writing.value)


def test_a_symbolic_link_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "ledger.sqlite"
    Ledger(str(target)).close()
    path.symlink_to(target)
    assert refusal(path) == f"{path}: is a symbolic link; name the file itself: {target}"
    path.unlink()
    Ledger(str(path)).close()
    journal = Path(f"{path}-journal")
    journal.symlink_to("nowhere")
    assert refusal(path).startswith(f"{journal}: is a symbolic link; ")


def test_a_file_with_a_second_name_is_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "ledger.sqlite", tmp_path / "other"
    Ledger(str(path)).close()
    other.hardlink_to(path)
    why = "has several names (hard links), and SQLite can use only one; copy it instead"
    assert refusal(path) == f"{path}: {why}"
    other.unlink()
    Ledger(str(path)).close()
    other.hardlink_to(f"{path}.lock")
    assert refusal(path) == f"{path}.lock: {why}"


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    os.mkfifo(path)
    assert refusal(path) == f"{path}: is no regular file; name another one"


def test_what_every_user_can_write_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    path = directory / "ledger.sqlite"
    Ledger(str(path)).close()
    path.chmod(0o666)
    assert refusal(path).startswith(f"{path}: every user can write to it; ")
    path.chmod(0o600)
    directory.chmod(0o777)
    assert refusal(path).startswith(f"{directory}: every user can write to this directory; ")
    directory.chmod(0o1777)
    Ledger(str(path)).close()


@pytest.mark.parametrize("link", [False, True])
def test_a_directory_above_that_every_user_can_write_to_is_refused(
    tmp_path: Path, link: bool
) -> None:
    shared = tmp_path / "shared"
    directory = shared / "busmon"
    directory.mkdir(parents=True)
    path = directory / "ledger.sqlite"
    Ledger(str(path)).close()
    if link:
        (tmp_path / "state").symlink_to(directory)
        path = tmp_path / "state/ledger.sqlite"
    shared.chmod(0o777)
    assert refusal(path).startswith(f"{shared}: every user can write to this directory; ")
    shared.chmod(0o1777)
    Ledger(str(path)).close()
