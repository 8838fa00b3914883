"""What the tests of several protocols need."""

import pytest

from busmon.sources.amqp.connection import AmqpConnection
from busmon.sources.mqtt import session as mqtt_session
from busmon.sources.stomp import session as stomp_session

PATIENCE = 50.0  # seconds


@pytest.fixture
def patient_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the end of a connection wait longer until the broker has the last acknowledgements.

    The broker on a busy machine may need more than the seconds that busmon gives it, and be right
    to send again what it has not read.
    """
    monkeypatch.setattr(AmqpConnection, "_close_timeout", PATIENCE)
    monkeypatch.setattr(mqtt_session, "CLOSE_TIMEOUT", PATIENCE)
    monkeypatch.setattr(stomp_session, "CLOSE_TIMEOUT", PATIENCE)
