"""A bus of one test's own at a RabbitMQ that is set up as Fedora's public broker."""

import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from busmon.logs import LIBRARY_LEVELS
from tests.support.amqp import Bus
from tests.support.brokers.rabbitmq import RabbitMQ


@pytest.fixture(autouse=True)
def no_noise(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a broker does, neither busmon nor its libraries log an error or a traceback."""
    for name, level in LIBRARY_LEVELS.items():
        caplog.set_level(level, name)
    caplog.set_level(logging.INFO)
    yield
    noise = [r for r in caplog.get_records("call") if r.exc_info or r.levelno >= logging.ERROR]
    assert not [record.getMessage() for record in noise]


@pytest.fixture
def bus(rabbitmq: RabbitMQ, tmp_path: Path) -> Bus:
    return Bus(rabbitmq, tmp_path, f"bus-{uuid4().hex[:8]}", str(uuid4()))
