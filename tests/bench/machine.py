"""The machine and the versions on which the figures were measured."""

import os
import platform
import sqlite3
import statistics
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from zipfile import ZipFile

from tests.support.brokers.activemq import HOME
from tests.support.brokers.rabbitmq import PROGRAMS

LIBRARIES = (
    "fedora-messaging",
    "pika",
    "Twisted",
    "paho-mqtt",
    "stomp.py",
    "prometheus-client",
)
FSYNCS = 50


def describe(directory: Path) -> dict[str, str]:
    """Return the machine, the disk of this directory, and the versions."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "CPU": f"{_cpu()}, {os.cpu_count()} cores",
        "memory": f"{pages * size / (1 << 30):.1f} GiB",
        "fsync": f"{_fsync(directory) * 1000:.2f} ms",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "RabbitMQ": _rabbitmq(),
        "Mosquitto": _mosquitto(),
        "ActiveMQ": _activemq(),
        **{library: version(library) for library in LIBRARIES},
        "load at the start": f"{os.getloadavg()[0]:.1f}",
    }


def _fsync(directory: Path) -> float:
    """Return the median of the seconds to append a page and sync it to disk."""
    taken = []
    with TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(FSYNCS):
            file.write(bytes(4096))
            start = time.perf_counter()
            os.fsync(file)
            taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _rabbitmq() -> str:
    installed = PROGRAMS.parent.glob("lib/rabbitmq_server-*")
    return ", ".join(directory.name.rpartition("-")[2] for directory in installed)


def _mosquitto() -> str:
    done = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0].removeprefix("mosquitto version ")


def _activemq() -> str:
    with ZipFile(HOME / "lib/activemq-broker.jar") as jar:
        manifest = jar.read("META-INF/MANIFEST.MF").decode()
    named = dict(line.split(": ", 1) for line in manifest.splitlines() if ": " in line)
    return named["Implementation-Version"]
