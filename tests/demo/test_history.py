"""The weeks before the demo."""

from busmon.demo import history
from busmon.demo.bodies import FEDORA_SHARES
from tests.support.diagnosis import Bench


def test_the_demo_knows_what_is_usual_and_an_incident_with_a_gap() -> None:
    bench = Bench()
    history.write(bench.ledger, "fedora", FEDORA_SHARES, 20.0, bench.now)
    history.write_incident(bench.ledger, "fedora", bench.now)
    bench.receive("first", history.LOST)
    bench.silence.learn(bench.now)
    bench.auditor.refresh()
    states = bench.silence.states(bench.now)
    assert states.keys() == {("fedora", history.LOST)}, "only of what came there is a state"
    bench.watch.refresh()
    assert bench.watch.diagnosis().lost == {"fedora": history.LOST_MESSAGES}
    assert all(state.ready and not state.silent for state in states.values())
    with bench.ledger.read() as tables:
        (incident,) = tables.incidents.open() or tables.incidents.latest(5)
    assert (incident.kind, incident.last_evidence) == ("listener", history.EVIDENCE)
