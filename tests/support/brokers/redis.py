"""A private Redis, or Valkey, that keeps nothing on disk."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis as Client
from redis.exceptions import ConnectionError as NoConnection

from tests.support.brokers import Server, free_port
from tests.support.brokers.certificates import Certificates


class Redis:
    """The broker between the listener and its workers; a restart loses everything."""

    def __init__(
        self, directory: Path, password: str = "", certificates: Certificates | None = None
    ) -> None:
        self.port = free_port()
        login = f":{password}@" if password else ""
        self.url = f"redis://{login}127.0.0.1:{self.port}/0"
        program = shutil.which("redis-server") or shutil.which("valkey-server") or "redis-server"
        options = {"bind": "127.0.0.1", "port": self.port, "save": "", "dir": directory}
        options |= {"requirepass": password} if password else {}
        if certificates:
            self.tls_port = free_port()
            self.tls_url = f"rediss://{login}localhost:{self.tls_port}/0"
            certificate, key = certificates.server
            options |= {
                "tls-port": self.tls_port,
                "tls-cert-file": certificate,
                "tls-key-file": key,
                "tls-ca-cert-file": certificates.ca,
                "tls-auth-clients": "no",
            }
        self.server = Server(
            [
                program,
                *(str(word) for key, value in options.items() for word in (f"--{key}", value)),
            ],
            directory / "redis.log",
            ready=lambda _: self._answers(),
        )

    def waiting(self, queue: str) -> int:
        """Return how many tasks wait in a queue."""
        with Client.from_url(self.url) as client:
            return int(client.llen(queue))

    def unfinished(self) -> int:
        """Return how many tasks workers have taken, and not acknowledged."""
        with Client.from_url(self.url) as client:
            return int(client.hlen("unacked"))

    def clear(self) -> None:
        """Forget all tasks, so that the next test's workers do not run them."""
        with Client.from_url(self.url) as client:
            client.flushdb()

    def _answers(self) -> bool:
        with suppress(NoConnection), Client.from_url(self.url) as client:
            return bool(client.ping())
        return False


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    redis = Redis(tmp_path_factory.mktemp("redis"))
    try:
        redis.server.start()
        yield redis
    finally:
        if redis.server.running:
            redis.server.kill()
