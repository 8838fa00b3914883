"""A private PgBouncer before a PostgreSQL."""

import os
import shutil
from pathlib import Path

from tests.support.brokers import Server, accepts, free_port

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = {mode}
"""


class PgBouncer(Server):
    """A PgBouncer that knows one user of the server. It refuses to run as root."""

    def __init__(self, directory: Path, mode: str, server: int, user: str, password: str) -> None:
        """`mode`: "session" or "transaction"; `server` is the port of PostgreSQL."""
        self.port = free_port()
        users, configuration = directory / "users.txt", directory / "pgbouncer.ini"
        users.write_text(f'"{user}" "{password}"\n')
        configuration.write_text(
            CONFIGURATION.format(server=server, port=self.port, users=users, mode=mode)
        )
        as_user: list[str] = []
        if not os.geteuid():
            for path in (directory, users, configuration):
                shutil.chown(path, "postgres")
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            as_user += ["--pdeathsig=KILL"]
        super().__init__(
            [*as_user, "pgbouncer", configuration],
            directory / "pgbouncer.log",
            ready=lambda _: accepts(self.port),
        )
