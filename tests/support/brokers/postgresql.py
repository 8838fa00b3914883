"""A private PostgreSQL."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

from tests.support.brokers import Server, free_port

BINARIES = "/usr/lib/postgresql"  # Debian's; elsewhere they are in the path


class PostgreSQL(Server):
    """A private PostgreSQL with one database, and a user of its name. It refuses to run as root."""

    def __init__(self, directory: Path, database: str) -> None:
        self.port = free_port()
        self.url = f"postgresql://{database}@127.0.0.1:{self.port}/{database}?sslmode=disable"
        self._database = database
        self._data = directory / "data"
        self._as_user: list[str] = []
        if not os.geteuid():
            shutil.chown(directory, "postgres")
            user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
            # Changing the user also clears the signal that Server asks for.
            self._as_user = ["setpriv", *user, "--pdeathsig=KILL"]
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": directory,
            "fsync": "off",
        }
        super().__init__(
            [
                *self._as_user,
                _program("postgres"),
                *("-D", self._data, "-p", str(self.port)),
                *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            ],
            directory / "postgresql.log",
            cwd=directory,
            ready=lambda server: server.logged("ready to accept connections"),
        )

    def start(self) -> Self:
        """Make its files, and its database when it has started."""
        name = self._database
        self._run("initdb", "-D", self._data, "-U", name, "--auth=trust", "--no-sync")
        super().start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", name, name)
        return self

    def _run(self, program: str, *words: str | Path) -> None:
        done = subprocess.run(
            [*self._as_user, _program(program), *words],
            capture_output=True,
            text=True,
            cwd=self.log.parent,
            env=os.environ | {"LC_ALL": "C"},
        )
        assert done.returncode == 0, done.stderr

    def __exit__(self, *_: object) -> None:
        """Let it remove its shared memory."""
        os.kill(self.pid, signal.SIGINT)
        self.wait()


def _program(name: str) -> str:
    found = sorted(Path(BINARIES).glob(f"*/bin/{name}"))
    return str(found[-1]) if found else name
