"""TimescaleDB as Fedora's archive has it: that of Debian 13, beside the system of the tests.

`install` unpacks it in .cache. It needs apt, and the network once. To run it needs root: its
processes see the unpacked `/usr` in the place of the system's.
"""

import subprocess
from pathlib import Path

from tests.support.busmon_process import PROJECT
from tests.support.made_once import made_once

UNPACKED = PROJECT / ".cache" / "timescaledb"
USR = UNPACKED / "usr"
# Besides what it depends on: a shell, which initdb calls, and setpriv.
PACKAGES = ("postgresql-17-timescaledb", "dash", "util-linux")
SOURCES = """
Types: deb
URIs: http://deb.debian.org/debian
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
OPTIONS = {
    "shared_preload_libraries": "timescaledb",
    "jit": "off",
    "timezone": "GMT",
    "timescaledb.telemetry_level": "off",  # it would connect to its makers
}


def install() -> None:
    """Download the packages and what they depend on (100 MB), and unpack them (420 MB)."""
    made_once(UNPACKED, _unpack)


def _unpack() -> None:
    apt = _apt(UNPACKED / "apt")
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "install", "--yes", "--download-only", *PACKAGES], check=True)
    for package in sorted((UNPACKED / "apt/cache/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", package, UNPACKED], check=True)
        package.unlink()


def _apt(directory: Path) -> list[str]:
    """Return apt-get with a state of its own, in which nothing is installed."""
    for folder in ("lists/partial", "cache/archives/partial", "sources"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    (directory / "sources" / "debian.sources").write_text(SOURCES)
    (directory / "status").touch()
    options = {
        "Dir::State::lists": directory / "lists",
        "Dir::State::status": directory / "status",
        "Dir::Cache": directory / "cache",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": directory / "sources",
        "Dir::Etc::preferencesparts": "/dev/null",
        "APT::Install-Recommends": "0",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    return ["apt-get", "-q", *(word for o, v in options.items() for word in ("-o", f"{o}={v}"))]


if __name__ == "__main__":
    install()
