"""A private PostgreSQL."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from tests.support.brokers import Server, free_port

USR = Path("/usr")
BINARIES = "lib/postgresql"  # Debian's, in /usr; elsewhere they are in the path
NONE: Mapping[str, str] = MappingProxyType({})


class PostgreSQL(Server):
    """A private PostgreSQL with one database, and a user of its name. It refuses to run as root.

    `usr` is that of another system, from which it is taken; that needs root.
    """

    def __init__(
        self, directory: Path, database: str, usr: Path = USR, settings: Mapping[str, str] = NONE
    ) -> None:
        self.port = free_port()
        self.url = f"postgresql://{database}@127.0.0.1:{self.port}/{database}?sslmode=disable"
        self._database = database
        self.data = directory / "data"
        self._usr = usr
        self._as_user: list[str] = []
        if usr != USR:
            mount = 'mount --bind "$0" /usr && exec "$@"'
            self._as_user = ["unshare", "--mount", "sh", "-c", mount, str(usr)]
        if not os.geteuid():
            shutil.chown(directory, "postgres")
            user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
            # Changing the user also clears the signal that Server asks for.
            self._as_user += ["setpriv", *user, "--pdeathsig=KILL"]
        options: dict[str, object] = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": directory,
            "fsync": "off",
            **settings,
        }
        super().__init__(
            [
                *self._as_user,
                self._program("postgres"),
                *("-D", self.data, "-p", str(self.port)),
                *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            ],
            directory / "postgresql.log",
            cwd=directory,
            ready=lambda server: server.logged("system is ready to accept"),
        )

    def start(self) -> Self:
        """Start it; the first time make its files before, and its database afterwards."""
        if self.data.exists():
            return super().start()
        name = self._database
        options = ("--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        self.program("initdb", "-D", self.data, "-U", name, *options)
        super().start()
        self.program("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", name, name)
        return self

    def program(self, program: str, *words: str | Path) -> None:
        """Run one of its programs, as its user."""
        done = subprocess.run(
            [*self._as_user, self._program(program), *words],
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

    def _program(self, name: str) -> str:
        found = sorted(self._usr.glob(f"{BINARIES}/*/bin/{name}"))
        return str(USR / found[-1].relative_to(self._usr)) if found else name
