"""A Redis of these tests alone."""

from collections.abc import Iterator

import pytest
from redis import Redis as Client

from tests.support.brokers.certificates import Certificates
from tests.support.brokers.redis import Redis

PASSWORD = "r3dis-c4nary"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Redis]:
    """A Redis of these tests alone, with a password, that may be restarted."""
    redis = Redis(tmp_path_factory.mktemp("redis"), PASSWORD, certificates)
    with redis.server:
        yield redis


@pytest.fixture
def broker(server: Redis) -> Redis:
    """The Redis, with nothing in it."""
    with Client.from_url(server.url) as client:
        client.flushall()
    return server
