"""`busmon …` run to its end: in this process, or in one of its own."""

import logging
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from click.testing import CliRunner

from busmon.cli.main import main
from tests.support.busmon_process import PROJECT

ENVIRONMENT = {"PYTHONPATH": str(PROJECT), "COLUMNS": "80"}

Ended = subprocess.CompletedProcess[str]


def busmon(*words: str | Path, env: Mapping[str, str] | None = None, status: int = 0) -> Ended:
    """Run it in this process, and expect this exit status."""
    arguments = [str(word) for word in words]
    with _logging_restored():
        ended = CliRunner(env=ENVIRONMENT | dict(env or {})).invoke(
            main, arguments, prog_name="busmon", catch_exceptions=False
        )
    assert ended.exit_code == status, ended.output
    return subprocess.CompletedProcess(arguments, ended.exit_code, ended.stdout, ended.stderr)


def busmon_process(
    *words: str | Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    status: int = 0,
    program: Sequence[str | Path] = (sys.executable, "-m", "busmon"),
) -> Ended:
    """Run it in a process of its own, and expect this exit status and no traceback.

    For what takes a real process: standard input, signals, the standard streams themselves.
    """
    ended = subprocess.run(
        [*program, *words],
        input=stdin,
        capture_output=True,
        env=os.environ | ENVIRONMENT | dict(env or {}),
        timeout=60,
    )
    out, err = ended.stdout.decode(), ended.stderr.decode()
    assert "Traceback" not in err, err
    assert ended.returncode == status, out + err
    return subprocess.CompletedProcess(ended.args, ended.returncode, out, err)


class Without(TypedDict):
    """What `busmon_process` needs for a busmon with fewer libraries."""

    program: Sequence[str | Path]
    env: Mapping[str, str]


def without(library: str, directory: Path) -> Without:
    """Return how to start a busmon for which a library is not installed."""
    libraries = directory / "libraries"
    libraries.mkdir()
    for place in {sysconfig.get_path(name) for name in ("purelib", "platlib")}:
        for entry in Path(place).iterdir():
            if not entry.name.startswith(library):
                (libraries / entry.name).symlink_to(entry)
    program = (sys.executable, "-S", "-m", "busmon")  # -S: all libraries are from $PYTHONPATH
    return {"program": program, "env": {"PYTHONPATH": f"{libraries}:{PROJECT}"}}


@contextmanager
def _logging_restored() -> Iterator[None]:
    """Undo what a command sets up: it expects to have the process to itself."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in (None, *root.manager.loggerDict)}
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
