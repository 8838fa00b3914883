"""Processes that are killed, stopped or suspended: busmon and the brokers."""

import random
import time
from collections.abc import Callable, Iterable

from tests.support.brokers import wait_until
from tests.support.brokers.activemq import ActiveMQ
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.constants import set_constants
from tests.support.streams import Stream, assert_exact, in_mid_stream, publish, standing_still

# However long a commit, or a broker, takes on a busy machine: a stop waits for both.
PATIENT = {
    "busmon.sources.session:CLOSE_TIMEOUT": 30.0,
    "busmon.sources.mqtt.session:CLOSE_TIMEOUT": 30.0,
    "busmon.service:STOP_TIMEOUT": 45.0,
}


def test_kill_9_in_mid_stream_loses_nothing_and_doubles_nothing(
    busmon: Busmon, streams: list[Stream]
) -> None:
    """Ten times while every bus is busy, and ten times as soon as one is."""
    rng = random.Random(20)
    for _ in range(10):
        busmon.wait_until_ready()
        with in_mid_stream(busmon, streams, all):
            time.sleep(rng.uniform(0, 0.1))  # any instant will do
            busmon.kill()
            busmon.start()
        with in_mid_stream(busmon, streams, any):
            time.sleep(rng.uniform(0, 0.1))
            busmon.kill()
            busmon.start()
    assert_exact(busmon, streams)


def test_stopped_in_mid_stream_it_has_acknowledged_what_it_recorded(
    busmon: Busmon, streams: list[Stream]
) -> None:
    """Otherwise the brokers would redeliver what the ledger already has."""
    busmon.terminate()
    set_constants(busmon, PATIENT)
    busmon.start()
    for _ in range(3):
        busmon.wait_until_ready()
        with in_mid_stream(busmon, streams, all):
            assert busmon.terminate() == 0
            busmon.start()
    assert_exact(busmon, streams)
    assert busmon.duplicates() == {}


def test_a_broker_that_is_down_loses_nothing_and_holds_up_no_other_bus(
    busmon: Busmon,
    streams: list[Stream],
    rabbitmq: RabbitMQ,
    mosquitto: Mosquitto,
    activemq: ActiveMQ,
) -> None:
    outages: list[tuple[set[str], Callable[[], object], Callable[[], object]]] = [
        ({"fedora"}, rabbitmq.stop, rabbitmq.start),
        ({"fedora"}, rabbitmq.kill, rabbitmq.start),
        ({"centos"}, mosquitto.stop, mosquitto.start),
        ({"durable", "virtual"}, activemq.terminate, activemq.start),
        ({"durable", "virtual"}, activemq.kill, activemq.start),
    ]
    for down, stop, start in outages:
        others = [stream for stream in streams if stream.bus not in down]
        with standing_still(busmon):
            publish(streams, 1000)
        stop()
        try:
            wait_until_reported(busmon, down)
            assert_exact(busmon, others)
            assert busmon.terminate() == 0
            busmon.start()
            wait_until_reported(busmon, down)
            publish(others, 100)
            assert_exact(busmon, others)
        finally:
            start()
        busmon.wait_until_ready()
    publish(streams, 100)
    assert_exact(busmon, streams)


def wait_until_reported(busmon: Busmon, down: Iterable[str]) -> None:
    """Wait until /ready names these buses and no other; /live is not about brokers."""
    expected = dict.fromkeys(down, "network")
    wait_until(lambda: busmon.troubles() == expected, what=f"{expected} in /ready")
    assert busmon.ask("/live") == (200, ["live"])
