"""The history with which the demo begins."""

import threading
from pathlib import Path

from busmon.demo import demo
from busmon.demo.story import LOW, SILENT
from busmon.diagnosis.verdict import FaultKind
from busmon.ledger.ledger import Ledger
from busmon.ledger.open_messages import State
from busmon.message import Stage, Topic
from busmon.rules import rule_set
from busmon.silence.blind_time import BlindTime
from busmon.silence.watcher import SilenceWatcher
from busmon.sources.base import ConnectionState

NOW = 1_795_737_000.0  # a Thursday, 23:50 UTC
RATE = 0.015  # messages a second; the demo has more


def test_the_demo_begins_with_all_that_the_pages_can_show(tmp_path: Path) -> None:
    config, ledger = demo.configuration("127.0.0.1:0", RATE, {}), Ledger(f"{tmp_path}/ledger")
    demo.write_history(config, ledger, RATE, NOW, threading.Event())

    with ledger.read() as tables:
        stages = {place.stage for place in tables.gaps.open()}
        healed = tables.gaps.latest(State.RECOVERED, 100)
        (acceptance,) = tables.acceptances.all()
        kinds = {one.kind for one in tables.incidents.listed(0)}
        blind = {bus: tables.blind_times.between(bus, 0, NOW) for bus in config.buses}
    assert stages == {Stage.LISTENER, Stage.HANDLERS}
    assert healed
    assert acceptance.windows
    assert kinds == {*FaultKind} - {FaultKind.NONE, FaultKind.BUSMON, FaultKind.BUS}
    assert all(blind.values())

    rule_sets = {name: rule_set(bus.rules, config.rules) for name, bus in config.buses.items()}
    blind_time = BlindTime(ledger, {bus: ConnectionState() for bus in rule_sets}, NOW)
    watcher = SilenceWatcher(config.silence, ledger, rule_sets, blind_time)
    watcher.learn(NOW)
    states = watcher.states(NOW)
    assert [topic.name for topic, state in states.items() if state.silent] == [SILENT]
    assert [topic.name for topic, state in states.items() if state.low] == [LOW]
    assert states[Topic("fedora", SILENT)].ready
