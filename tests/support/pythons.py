"""The Pythons of this machine: under pyenv, in PATH, or the tests' own."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

WANTED = tuple(f"3.{minor}" for minor in range(9, 15))  # what a listener may run on
ON_CI = WANTED[:-1]  # there all of these have to be found
NAME = "import platform; print(platform.python_implementation(), platform.python_version())"


@cache
def found() -> dict[str, Path]:
    """Return the program of each CPython that is wanted and works, by version: `3.9`."""
    return {version: program for version in WANTED if (program := _find(version))}


def _find(version: str) -> Path | None:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    under_pyenv = (root / "versions").glob(f"{version}.*/bin/python3")
    in_path = shutil.which(f"python{version}")
    own = Path(sys.executable).resolve()
    programs = [*sorted(under_pyenv), *([Path(in_path)] if in_path else []), own]
    return next((program for program in programs if _is_cpython(program, version)), None)


def _is_cpython(program: Path, version: str) -> bool:
    done = subprocess.run([program, "-c", NAME], capture_output=True, text=True, check=False)
    return done.stdout.startswith(f"CPython {version}.")
