"""A real Datagrepper over a private PostgreSQL, filled by datanommer.

With `make timescaledb`, over a private TimescaleDB, as Fedora's.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import NamedTuple, Self

import pytest

from busmon.settings.archive import Archive
from tests.support.brokers import Server, free_port, timescaledb
from tests.support.brokers.postgresql import PostgreSQL
from tests.support.busmon_process import PROJECT
from tests.support.made_once import made_once

TIMESCALEDB = "TEST_TIMESCALEDB"  # a variable; if it is set, the database is the real one
MADE = PROJECT / ".cache" / "datagrepper-1.1.0"
# Both want psycopg2, which would have to be compiled; psycopg2-binary is the same, compiled.
WITHOUT_DEPENDENCIES = ("datagrepper==1.1.0", "datanommer-models==1.5.0")
DEPENDENCIES = (
    *("SQLAlchemy<2", "alembic<2", "arrow<2", "docutils", "fedora-messaging<4", "flask<3"),
    *("flask-healthz==0.0.3", "gunicorn<22", "moksha.common<2", "psycopg2-binary", "pygal"),
    *("Pygments<3", "python-dateutil", "setuptools<81", "werkzeug<3"),
)


class Sent(NamedTuple):
    """A message for the archive."""

    id: str
    topic: str
    at: float  # Unix time
    body: Mapping[str, object] = MappingProxyType({})


def settings(url: str, **other: object) -> Archive:
    """Return busmon's settings for the archive at this URL."""
    return Archive.model_validate(
        {"url": url, "bus": "fedora", "contact": "busmon@example.com"} | other
    )


class Datagrepper:
    """The archive, empty at first. A `with` block ends it."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/datagrepper"
        self._timescale = TIMESCALEDB in os.environ
        of_timescale = (timescaledb.USR, timescaledb.OPTIONS) if self._timescale else ()
        self._database = PostgreSQL(directory, "datanommer", *of_timescale)
        config = directory / "datagrepper.py"
        config.write_text(
            f"DATANOMMER_SQLALCHEMY_URL = {self._database.url!r}\nDEFAULT_QUERY_DELTA = 86400\n"
        )
        bin_ = installed() / "bin"
        self._python = bin_ / "python"
        self._web = Server(
            [
                *(bin_ / "gunicorn", "-b", f"127.0.0.1:{port}", "--timeout", "60"),
                "datagrepper.app:app",
            ],
            directory / "datagrepper.log",
            # Without TZ=UTC it takes the times of requests for local ones.
            {"DATAGREPPER_CONFIG": str(config), "TZ": "UTC", "SCRIPT_NAME": "/datagrepper"},
            ready=lambda _: answers(f"127.0.0.1:{port}"),
        )
        self._nommer: subprocess.Popen[str] | None = None

    def add(self, messages: Iterable[Sent]) -> None:
        """Store messages, as datanommer does."""
        rows = [
            [one.id, one.topic, dict(one.body), datetime.fromtimestamp(one.at, UTC).isoformat()]
            for one in messages
        ]
        assert self._nommer
        assert self._nommer.stdin
        print(json.dumps(rows), file=self._nommer.stdin, flush=True)
        assert self._answer() == "stored"

    @contextmanager
    def away(self) -> Iterator[None]:
        """Meanwhile it does not answer; what is added is stored."""
        self._web.kill()
        yield
        self._web.start()

    def __enter__(self) -> Self:
        try:
            return self._started()
        except BaseException:
            self.__exit__()
            raise

    def _started(self) -> Self:
        self._database.start()
        self._nommer = subprocess.Popen(
            [
                *(self._python, Path(__file__).with_name("nommer.py"), self._database.url),
                *(["--timescaledb"] if self._timescale else []),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._web.start()
        assert self._answer() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        if self._nommer:
            self._nommer.communicate()
        if self._web.running:
            self._web.kill()
        if self._database.running:
            self._database.__exit__()

    def _answer(self) -> str:
        assert self._nommer
        assert self._nommer.stdout
        return self._nommer.stdout.readline().strip()


def answers(address: str) -> bool:
    """Return whether a web server answers, with whatever status.

    gunicorn listens before it has a worker that can answer.
    """
    with suppress(OSError, HTTPException), closing(HTTPConnection(address, timeout=60)) as server:
        server.request("GET", "/datagrepper/")
        return bool(server.getresponse().status)
    return False


def installed() -> Path:
    """Return the virtual environment of Datagrepper and datanommer; it is made once, in 20 s."""
    return made_once(MADE, _install)


def _install() -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", MADE], check=True)
    for packages in (DEPENDENCIES, ("--no-deps", *WITHOUT_DEPENDENCIES)):
        subprocess.run([MADE / "bin/pip", "install", "--quiet", *packages], check=True)


@pytest.fixture(scope="session")
def datagrepper() -> Iterator[Datagrepper]:
    """One for the session; each test uses topics of its own."""
    # The user of PostgreSQL cannot reach pytest's directories.
    with (
        TemporaryDirectory(prefix="busmon-datagrepper-") as directory,
        Datagrepper(Path(directory)) as archive,
    ):
        yield archive


if __name__ == "__main__":
    installed()
