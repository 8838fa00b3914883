"""`busmon …` as a process of its own that runs to its end."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.busmon_process import PROJECT


def busmon(
    *words: str | Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    status: int = 0,
    program: Sequence[str | Path] = (sys.executable, "-m", "busmon"),
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, and expect this status and no traceback."""
    ended = subprocess.run(
        [*program, *words],
        input=stdin,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "COLUMNS": "80"} | dict(env or {}),
        timeout=60,
    )
    out, err = ended.stdout.decode(), ended.stderr.decode()
    assert "Traceback" not in err, err
    assert ended.returncode == status, out + err
    return subprocess.CompletedProcess(ended.args, ended.returncode, out, err)
