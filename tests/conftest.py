"""Fixtures: the brokers, one of each for the whole session, and the buses of one test."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import hypothesis
import pytest

from tests.support.brokers.activemq import ActiveMQ, activemq  # noqa: F401 - a fixture
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto, mosquitto  # noqa: F401 - a fixture
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.redis import redis  # noqa: F401 - a fixture
from tests.support.buses import Bus, centos_bus, durable_bus, fedora_bus, started, virtual_bus
from tests.support.busmon_process import Busmon
from tests.support.ledger_server import ledger_server  # noqa: F401 - a fixture
from tests.support.streams import Stream

# HYPOTHESIS_PROFILE=soak tries more examples in tests that set no number of their own. No example
# has a deadline, nor a time to be drawn in: on a busy machine it may wait for any time. What has to
# be quick has a test that measures CPU time.
usual = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("usual", usual)
hypothesis.settings.register_profile("soak", usual, max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "usual")


@pytest.fixture(autouse=True)
def without_a_listeners_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules of a listener's own code set these for the whole process; they end with the test."""
    for variable in ("PROJECT", "DEPLOYMENT"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


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


@pytest.fixture
def fedora(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Bus]:
    bus = fedora_bus(rabbitmq, tmp_path / "fedora.toml")
    yield bus
    rabbitmq.delete_queue(bus.settings["queue"])


@pytest.fixture
def buses(
    fedora: Bus,
    mosquitto: Mosquitto,  # noqa: F811 - the fixture
    activemq: ActiveMQ,  # noqa: F811 - the fixture
    certificates: Certificates,
) -> list[Bus]:
    centos = centos_bus(mosquitto, certificates)
    return [fedora, centos, durable_bus(activemq), virtual_bus(activemq)]


@pytest.fixture
def streams(buses: Sequence[Bus]) -> list[Stream]:
    return [bus.stream for bus in buses]


@pytest.fixture
def busmon(buses: Sequence[Bus], tmp_path: Path) -> Iterator[Busmon]:
    """One busmon for all buses, which has subscribed to each of them."""
    with started(tmp_path, buses) as busmon:
        yield busmon
