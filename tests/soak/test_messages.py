"""What is hostile in a soak is counted as what it is."""

from pathlib import Path

from tests.hostile.bodies import SHAPES
from tests.soak.faults.messages import monsters_of, of_shape
from tests.support.brokers.activemq import ActiveMQ
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.buses import proxied, started
from tests.support.streams import assert_exact


def test_hostile_messages_are_counted_as_what_they_are(
    rabbitmq: RabbitMQ,
    mosquitto: Mosquitto,
    activemq: ActiveMQ,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    brokers = rabbitmq, mosquitto, activemq
    with (
        proxied(*brokers, certificates, tmp_path, "5s") as (buses, _),
        started(tmp_path, buses) as busmon,
    ):
        streams = [bus.stream for bus in buses]
        for number, stream in enumerate(streams):
            shapes = sorted(SHAPES)[number :: len(streams)]
            stream.publish_all(monsters_of(stream.bus, stream.end))
            stream.publish_all([of_shape(shape, stream.bus, stream.end) for shape in shapes])
        assert_exact(busmon, streams)
