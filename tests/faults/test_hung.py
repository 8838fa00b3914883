"""A rule that never ends: what shows it, what goes on beside it, and that it stops nobody."""

from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.bad_threads import SPINNING, STUCK
from tests.support.brokers import wait_until
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.busmon_process import Busmon
from tests.support.exposition import counter


def mqtt(mosquitto: Mosquitto, rules: str) -> dict[str, object]:
    place = uuid4().hex
    return {
        "type": "mqtt",
        "rules": rules,
        "url": mosquitto.url,
        "client_id": place,
        "topics": [f"{place}/#"],
    }


def published(mosquitto: Mosquitto, bus: dict[str, object]) -> None:
    mosquitto.publish([(f"{bus['client_id']}/new", b"{}")])


def lines(busmon: Busmon, *names: str) -> list[str]:
    """Return the metrics of these names."""
    query = "&".join(f"name[]={name}" for name in names)
    return [line for line in busmon.ask(f"/metrics?{query}")[1] if not line.startswith("#")]


def blind_seconds(busmon: Busmon) -> float:
    name = "busmon_blind_seconds_total"
    found = counter("\n".join(lines(busmon, name)) + "\n", name, ["bus"], bus="hung")
    return found["hung",]


@pytest.mark.parametrize("rules", [STUCK, SPINNING])
def test_a_rule_that_hangs_shows_everywhere_and_holds_up_nothing(
    mosquitto: Mosquitto, tmp_path: Path, rules: str
) -> None:
    hung, other = mqtt(mosquitto, rules), mqtt(mosquitto, "all")
    with Busmon(tmp_path, {"hung": hung, "other": other}) as busmon:
        busmon.wait_until_ready()
        blind = blind_seconds(busmon)
        published(mosquitto, hung)
        wait_until(lambda: busmon.troubles() == {"hung": "hung"}, what="/ready to name it")
        wait_until(
            lambda: (
                'busmon_verdict{bus="hung",kind="busmon"} 1.0' in lines(busmon, "busmon_verdict")
            )
        )
        assert "busmon itself does not receive: hung: " in busmon.ask("/v1/status")[1][0]
        shown = lines(busmon, "busmon_bus_connected", "busmon_bus_disconnects_total")
        assert {
            'busmon_bus_connected{bus="hung"} 0.0',
            'busmon_bus_connected{bus="other"} 1.0',
            'busmon_bus_disconnects_total{bus="hung",reason="hung"} 1.0',
        } <= set(shown)
        assert blind_seconds(busmon) >= blind + 6  # from the moment at which it began to hang
        assert busmon.logged("bad_threads.py")  # where it hangs
        published(mosquitto, other)
        wait_until(lambda: busmon.counts().total() == 1, what="the other bus to go on")
        assert busmon.terminate(10) == 0  # 5 s, on a machine that is not busy
