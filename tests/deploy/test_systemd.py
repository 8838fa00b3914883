"""The systemd unit, by systemd's own checks; none of them starts anything."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "config/systemd/busmon.service"


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine's root directory with busmon installed as the unit says, and systemd's units."""
    busmon = tmp_path / "opt/busmon/bin/busmon"
    busmon.parent.mkdir(parents=True)
    busmon.write_text("#!/bin/sh\n")
    busmon.chmod(0o755)
    units = Path("/usr/lib/systemd/system")
    shutil.copytree(units, tmp_path / units.relative_to("/"), symlinks=True)
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    shutil.copy(UNIT, tmp_path / "etc/systemd/system")
    return tmp_path


def test_systemd_finds_nothing_wrong(machine: Path) -> None:
    done = analyze("verify", f"--root={machine}", "--man=no", UNIT.name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_finds_what_is_wrong(machine: Path) -> None:
    with (machine / "etc/systemd/system" / UNIT.name).open("a") as unit:
        unit.write("[Service]\nProtectEverything=yes\n")
    assert "ProtectEverything" in analyze("verify", f"--root={machine}", UNIT.name).stderr


def test_the_service_is_exposed_to_little() -> None:
    """Below 3 of 10, where a unit without any hardening has 9.6."""
    done = analyze("security", "--offline=true", "--threshold=29", UNIT)  # in tenths
    assert done.returncode == 0, done.stdout
