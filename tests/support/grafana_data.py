"""Grafana's own library, which makes fields and texts of what Prometheus answers.

It runs in Node.js, and needs no server. Its version is the oldest Grafana that is supported. Its
package d3-interpolate is an older one, since Debian 12's Node.js 18 cannot load the newer one.
"""

import fcntl
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.support.busmon_process import PROJECT

HERE = Path(__file__).with_name("grafana")
LOCK = HERE / "package-lock.json"  # which has all checksums
MADE = PROJECT / ".cache" / f"grafana-data-{sha256(LOCK.read_bytes()).hexdigest()[:8]}"

Shown = Mapping[str, Any]  # see show.cjs


def installed() -> Path:
    """Return where it is; it is downloaded once, with all it needs: 40 MB, 115 MB unpacked."""
    MADE.mkdir(parents=True, exist_ok=True)
    with Path(f"{MADE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker of the tests may be at it
        if not (MADE / "complete").exists():
            for file in (HERE / "package.json", LOCK):
                shutil.copy(file, MADE)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            subprocess.run(command, cwd=MADE, check=True, timeout=300)
            (MADE / "complete").touch()
    return MADE


def show(asked: Sequence[Mapping[str, Any]]) -> list[Shown]:
    """Return what Grafana makes of panels, each with its `answers`, if it has any."""
    command: list[str | Path] = ["node", HERE / "show.cjs", installed()]
    made = subprocess.run(
        command, input=json.dumps(asked).encode(), stdout=subprocess.PIPE, check=True, timeout=60
    )
    shown: list[Shown] = json.loads(made.stdout)
    return shown


if __name__ == "__main__":
    installed()
