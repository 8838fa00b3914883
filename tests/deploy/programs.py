"""The exporters of what runs beside the listener, each with the real program that it watches."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis as Client

from tests.deploy.manifests import NODE_EXPORTER
from tests.support.brokers import Server, accepts, free_port
from tests.support.brokers.postgresql import PostgreSQL
from tests.support.brokers.redis import Redis


def _exporter(
    name: str, directory: Path, port: int, *options: str, env: Mapping[str, str] | None = None
) -> Server:
    program = shutil.which(f"prometheus-{name}-exporter") or f"{name}_exporter"
    argv = [program, f"--web.listen-address=127.0.0.1:{port}", *options]
    return Server(argv, directory / f"{name}.log", env, ready=lambda _: accepts(port))


@contextmanager
def programs(directory: Path, redis: Redis) -> Iterator[Mapping[str, int]]:
    """Run PostgreSQL, Flower and the exporters; yield the port of each that is scraped."""
    ports = {name: free_port() for name in ("node", "postgres", "redis", "flower")}
    with Client.from_url(redis.url) as client:
        client.config_set("maxmemory", "64mb")
    with ExitStack() as stack:
        files = Path(stack.enter_context(TemporaryDirectory(prefix="busmon-postgresql-")))
        postgres = stack.enter_context(PostgreSQL(files, "packit"))
        login = {"DATA_SOURCE_NAME": postgres.url}
        flower = [sys.executable, "-m", "celery", f"--broker={redis.url}", "flower"]
        servers = [
            _exporter("node", directory, ports["node"], *NODE_EXPORTER["args"]),
            _exporter("postgres", directory, ports["postgres"], env=login),
            _exporter("redis", directory, ports["redis"], f"--redis.addr={redis.url}"),
            Server(
                [*flower, "--address=127.0.0.1", f"--port={ports['flower']}"],
                directory / "flower.log",
                ready=lambda _: accepts(ports["flower"]),
            ),
        ]
        for server in servers:
            stack.enter_context(server)
        yield ports
