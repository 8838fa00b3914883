"""The ledger's disk fails under `busmon run`: what is not on record is not acknowledged.

See `stopping`.
"""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from busmon.ledger.ledger import Ledger
from tests.faults.stopping import Bus, wait_until_counted, wait_until_reported
from tests.ledger.sql import foreign_reader, foreign_writer
from tests.support.brokers import wait_until
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.busmon_process import Busmon
from tests.support.ledgers import judged

ENOUGH = 20_000  # messages: more than fit into the room that a trial write has left in the log


@pytest.fixture
def bus(mosquitto: Mosquitto) -> Bus:
    return Bus(mosquitto)


@pytest.fixture
def busmon(bus: Bus, tmp_path: Path) -> Iterator[Busmon]:
    """A busmon that has counted 100 messages."""
    with Busmon(tmp_path, {"centos": bus.settings}) as busmon:
        busmon.wait_until_ready()
        bus.publish(100)
        wait_until_counted(busmon, bus, 100)
        yield busmon


# No room


def test_a_failing_disk_stops_acknowledging_until_it_works(busmon: Busmon, bus: Bus) -> None:
    busmon.limit_files(4096)
    bus.publish(50)
    wait_until_reported(busmon, "disk I/O error")
    assert busmon.counts() == bus.counted(100)
    busmon.kill()  # nothing was acknowledged, so nothing is lost
    busmon.start()
    wait_until_counted(busmon, bus, 150)
    busmon.limit_files(4096)
    bus.publish(50)
    wait_until_reported(busmon, "disk I/O error")
    busmon.limit_files("unlimited")
    wait_until_counted(busmon, bus, 200)


def test_a_full_file_system_stops_acknowledging_until_there_is_room(
    bus: Bus, tmp_path: Path
) -> None:
    """It is a small one, with room for a whole log, that no other process sees."""
    disk = tmp_path / "disk"
    disk.mkdir()
    busmon = Busmon(tmp_path, {"centos": bus.settings})
    busmon.argv = [
        *("unshare", "--map-root-user", "--mount", "--", "sh", "-c"),
        'mount -t tmpfs -o size=32m tmpfs "$0" && exec setpriv --pdeathsig KILL -- "$@"',
        *(str(disk), *busmon.argv, "--ledger", f"{disk}/ledger.sqlite"),
    ]
    with busmon:
        busmon.wait_until_ready()
        ballast = Path(f"/proc/{busmon.pid}/root{disk}/ballast")
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(b"\0" * 4096):
                pass
        bus.publish(ENOUGH)
        wait_until_reported(busmon, "database or disk is full")
        counted = busmon.counts().total()
        assert counted < ENOUGH
        ballast.unlink()
        wait_until_counted(busmon, bus, ENOUGH)


# A disk of its own that fails

# Only root may mount a file as a file system, even in a user namespace. CI runs as root, so
# it skips nothing.
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="to mount ext4 takes root")


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[None]:
    """Mount the file system of an image here."""
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        yield
    finally:
        if subprocess.run(["umount", place], check=False).returncode:
            subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An empty file system."""
    image = tmp_path / "image"
    subprocess.run(["mkfs.ext4", "-q", image, "64M"], check=True)
    return image


@contextmanager
def on_disk(image: Path, bus: Bus, directory: Path) -> Iterator[tuple[Busmon, Path]]:
    """A busmon that has counted 100 messages, and the disk that its ledger is on."""
    disk = directory / "disk"
    disk.mkdir()
    busmon = Busmon(directory, {"centos": bus.settings})
    busmon.argv += ["--ledger", f"{disk}/ledger.sqlite"]
    with mounted(image, disk), busmon:
        busmon.wait_until_ready()
        bus.publish(100)
        wait_until_counted(busmon, bus, 100)
        yield busmon, disk


@needs_root
def test_a_read_only_file_system_is_reported_and_nothing_is_lost(
    bus: Bus, tmp_path: Path, image: Path
) -> None:
    """The kernel does that when a disk fails: no process can write to its open files any more."""
    with on_disk(image, bus, tmp_path) as (busmon, disk):
        subprocess.run(["mount", "-o", "remount,abort", disk], check=True)
        bus.publish(50)
        wait_until_reported(busmon, "disk I/O error")
        assert busmon.counts() == bus.counted(100)
        assert busmon.terminate() == 0
    # A copy: the mount namespace of a test beside this one may still hold the failed disk.
    copy = Path(shutil.copy(image, tmp_path / "copy"))
    checked = subprocess.run(["e2fsck", "-fy", copy], capture_output=True, text=True, check=False)
    assert checked.returncode in {0, 1}, checked.stdout  # 1: errors were found and corrected
    with mounted(copy, disk), busmon:
        wait_until_counted(busmon, bus, 150)


@needs_root
def test_a_hung_disk_is_reported_and_everything_is_counted_later(
    bus: Bus, tmp_path: Path, image: Path
) -> None:
    """Nothing fails then: a write does not end, and neither does what waits for it."""
    with on_disk(image, bus, tmp_path) as (busmon, disk):
        subprocess.run(["fsfreeze", "--freeze", disk], check=True)
        try:
            bus.publish(50)
            wait_until(lambda: len(busmon.ask("/ready")[1]) == 2, 60, "bus and disk in /ready")
            bus_problem, problem = busmon.ask("/ready")[1]
            assert bus_problem.startswith("centos: hung: ")
            assert re.fullmatch(r"ledger: a write has not finished for \d+ s: .*", problem)
            assert "busmon_ledger_up 0.0" in busmon.ask("/metrics?name[]=busmon_ledger_up")[1]
            wait_until(lambda: '"kind": "busmon"' in busmon.ask("/v1/status")[1][0])
            assert busmon.counts() == bus.counted(100)
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", disk], check=True)
        wait_until_counted(busmon, bus, 150)


@needs_root
def test_a_disk_that_hangs_while_the_log_is_emptied_is_reported(
    tmp_path: Path, image: Path
) -> None:
    """Then recording waits for it, and has not begun itself."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(image, disk), closing(Ledger(f"{disk}/ledger.sqlite")) as ledger:
        ledger.record(judged(*range(100)))
        subprocess.run(["fsfreeze", "--freeze", disk], check=True)
        emptying = threading.Thread(target=ledger.empty_log)
        try:
            emptying.start()
            wait_until(ledger.problem, what="the ledger's problem")
            assert re.match(r"ledger: a write has not finished for \d+ s: ", str(ledger.problem()))
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", disk], check=True)
            emptying.join()
        assert ledger.problem() is None


# Files that are not what they were


@pytest.mark.parametrize(("file", "kept"), [("", 0), ("-wal", 100), (".lock", 100)])
def test_a_removed_file_is_reported_and_stops_acknowledging(
    busmon: Busmon, bus: Bus, tmp_path: Path, file: str, kept: int
) -> None:
    """What is recorded after that would be lost when the process ends."""
    removed = tmp_path / f"ledger.sqlite{file}"
    removed.unlink()
    cause = f"{removed} was removed or replaced; put it back, or restart busmon"
    assert busmon.ask("/ready") == (503, [f"ledger: {cause}"])
    bus.publish(50)
    wait_until_reported(busmon, cause)
    assert busmon.counts() == bus.counted(100)
    assert busmon.terminate() == 0
    with Busmon(tmp_path, {"centos": bus.settings}) as another:
        wait_until_counted(another, bus, kept + 50)


def test_a_ledger_that_was_moved_away_and_put_back_continues(
    busmon: Busmon, bus: Bus, tmp_path: Path
) -> None:
    ledger, elsewhere = tmp_path / "ledger.sqlite", tmp_path / "elsewhere"
    ledger.rename(elsewhere)
    ledger.write_bytes(elsewhere.read_bytes())
    bus.publish(50)
    cause = f"{ledger} was removed or replaced; put it back, or restart busmon"
    wait_until_reported(busmon, cause)
    elsewhere.rename(ledger)
    wait_until_counted(busmon, bus, 150)


def test_a_damaged_file_is_reported_and_stops_acknowledging(bus: Bus, tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    with closing(Ledger(str(file))) as ledger:  # more pages than it has read since its start
        ledger.record(judged(*range(5000)))
    with Busmon(tmp_path, {"centos": bus.settings}) as busmon:
        busmon.wait_until_ready()
        with file.open("r+b") as pages:
            size = pages.seek(0, 2)
            pages.seek(4096)
            pages.write(b"\xff" * (size - 4096))
        bus.publish(50)
        wait_until_reported(
            busmon,
            "damaged: database disk image is malformed; stop busmon and move its files away:"
            " busmon starts a new one, with all counters at zero",
        )
        assert bus.counted(1).keys().isdisjoint(busmon.counts())
        assert busmon.terminate() == 0
    for part in tmp_path.glob("ledger.sqlite*"):
        part.unlink()
    with Busmon(tmp_path, {"centos": bus.settings}) as another:
        wait_until_counted(another, bus, 50)


# In use by others


def test_another_writer_holds_up_recording_but_a_reader_does_not(
    busmon: Busmon, bus: Bus, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.sqlite"
    with foreign_reader(ledger):
        bus.publish(50)
        wait_until_counted(busmon, bus, 150)
    with foreign_writer(ledger):
        bus.publish(50)
        wait_until_reported(busmon, "database is locked")
        assert busmon.counts() == bus.counted(150)
    wait_until_counted(busmon, bus, 200)
