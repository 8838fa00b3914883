"""The sources that there are, by the `type` of a bus. A new one is a package and a line here."""

from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.bus import Bus
from busmon.sources.mqtt.settings import MqttBus
from busmon.sources.recorded.settings import ReplayBus
from busmon.sources.stomp.settings import StompBus

SOURCES: dict[str, type[Bus]] = {
    "amqp": AmqpBus,
    "mqtt": MqttBus,
    "stomp": StompBus,
    "replay": ReplayBus,
}
