"""Fixtures: the brokers, one of each for the whole session."""

import os
from collections.abc import Iterator

import hypothesis
import pytest

from tests.brokers.activemq import activemq  # noqa: F401 - a fixture
from tests.brokers.certificates import Certificates
from tests.brokers.mosquitto import mosquitto  # noqa: F401 - a fixture
from tests.brokers.rabbitmq import RabbitMQ
from tests.brokers.redis import redis  # noqa: F401 - a fixture

# HYPOTHESIS_PROFILE=soak looks longer where a test has no number of examples of its own.
hypothesis.settings.register_profile("soak", max_examples=2_000)
if profile := os.environ.get("HYPOTHESIS_PROFILE"):
    hypothesis.settings.load_profile(profile)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def rabbitmq(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[RabbitMQ]:
    broker = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"), certificates)
    try:
        yield broker.start()
    finally:
        broker.close()
