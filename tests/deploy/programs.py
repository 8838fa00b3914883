"""The exporters of what runs beside the listener, each with the real program that it watches."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from redis import Redis as Client

from tests.deploy.manifests import NODE_EXPORTER
from tests.support.brokers import Server, free_port
from tests.support.brokers.redis import Redis

BINARIES = "/usr/lib/postgresql"  # Debian's; elsewhere they are in the path


class PostgreSQL(Server):
    """A private PostgreSQL with the database `packit`. It refuses to run as root."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"postgresql://packit@127.0.0.1:{self.port}/packit?sslmode=disable"
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
        self._run("initdb", "-D", self._data, "-U", "packit", "--auth=trust", "--no-sync")
        super().start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "packit", "packit")
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


def _exporter(
    name: str, directory: Path, *options: str, env: Mapping[str, str] | None = None
) -> Server:
    program = shutil.which(f"prometheus-{name}-exporter") or f"{name}_exporter"
    return Server([program, *options], directory / f"{name}.log", env)


@contextmanager
def programs(directory: Path, redis: Redis) -> Iterator[Mapping[str, int]]:
    """Run PostgreSQL, Flower and the exporters; yield the port of each that is scraped."""
    ports = {name: free_port() for name in ("node", "postgres", "redis", "flower")}
    with Client.from_url(redis.url) as client:
        client.config_set("maxmemory", "64mb")
    with ExitStack() as stack:
        files = Path(stack.enter_context(TemporaryDirectory(prefix="busmon-postgresql-")))
        postgres = stack.enter_context(PostgreSQL(files))
        login = {"DATA_SOURCE_NAME": postgres.url}
        listen = {name: f"--web.listen-address=127.0.0.1:{port}" for name, port in ports.items()}
        flower = [sys.executable, "-m", "celery", f"--broker={redis.url}", "flower"]
        servers = [
            _exporter("node", directory, listen["node"], *NODE_EXPORTER["args"]),
            _exporter("postgres", directory, listen["postgres"], env=login),
            _exporter("redis", directory, listen["redis"], f"--redis.addr={redis.url}"),
            Server(
                [*flower, "--address=127.0.0.1", f"--port={ports['flower']}"],
                directory / "flower.log",
            ),
        ]
        for server in servers:
            stack.enter_context(server)
        yield ports
