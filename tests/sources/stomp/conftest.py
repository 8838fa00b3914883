"""Either broker: a real ActiveMQ or a real RabbitMQ."""

import pytest

from tests.support.brokers.activemq import ActiveMQ, Publisher
from tests.support.brokers.rabbitmq import USER as RABBIT_USER
from tests.support.brokers.rabbitmq import VHOST, RabbitMQ
from tests.support.stomp import Broker


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Broker:
    server = request.getfixturevalue(request.param)
    if isinstance(server, ActiveMQ):
        return Broker(
            server.port,
            {},
            lambda: Publisher(server.port),
            server.terminate,
            server.kill,
            server.start,
        )
    assert isinstance(server, RabbitMQ)
    name, passcode = RABBIT_USER
    return Broker(
        server.stomp_port,
        {"vhost": VHOST, "login": name, "passcode": passcode},
        lambda: Publisher(server.stomp_port, VHOST, username=name, passcode=passcode),
        server.stop,
        server.kill,
        server.start,
    )
