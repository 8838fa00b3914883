"""What the tests download or build once, in .cache."""

import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def made_once(folder: Path, make: Callable[[], object]) -> Path:
    """Return a folder that `make` fills, unless it is complete; other workers of the tests wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            make()
            (folder / "complete").touch()
    return folder


def unpack(package: str, folder: Path) -> None:
    """Download a package from PyPI into a folder, without what it needs itself."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--upgrade", "--target", folder, package], check=True)
