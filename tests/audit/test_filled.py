"""Messages that only the archive had are entered into windows that were closed before."""

from collections.abc import Mapping

import pytest

from busmon.audit.filled import enter
from busmon.audit.scope import Observed
from busmon.ledger.batch import Observation, Series
from busmon.ledger.open_messages import State
from busmon.ledger.windows import Totals
from busmon.message import Stage
from tests.support.audit import BUS, NOW, TOPIC, AuditBench

TAP = Observed(tap=BUS)
TEMPORARY = Observed(tap=BUS, temporary=frozenset({BUS}))
PROBE = Observed(temporary=frozenset({BUS}), queues=frozenset({BUS}))
Spans = Mapping[str, tuple[float, float]]
WATCHED: Spans = {"tap": (-100, 100)}
RAN: Spans = {"ended": (5, 5), "queue": (-100, 100)}  # busmon ran, and would have heard of one


def fill(bench: AuditBench, message_id: str, at: float, outcome: str) -> None:
    series = Series(BUS, TOPIC, outcome, "")
    with bench.ledger.write() as tables:
        last = tables.messages.last()
        assert tables.filled.add([Observation(series, message_id, at, at)]) == 1
        traces = list(tables.messages.recorded(BUS, last))
        enter(tables, BUS, bench.observed.scope(BUS), bench.settings, traces)
    bench.windows.refresh()


@pytest.mark.parametrize(
    ("observed", "spans", "report", "outcome", "state", "at_listener"),
    [
        (TAP, WATCHED, "passed", "handled", None, Totals(1)),
        (TAP, WATCHED, None, "handled", State.MISSING, Totals(missing=1)),
        (TAP, WATCHED, "raised", "handled", State.MISSING, Totals(missing=1)),
        (TAP, WATCHED, None, "ignored", None, Totals()),
        (TAP, WATCHED, "passed", "ignored", None, Totals(unexpected=1)),
        (TAP, {"tap": (-100, 15)}, None, "handled", State.UNCONFIRMED, Totals()),
        (TAP, {}, "raised", "handled", State.MISSING, Totals(missing=1)),
        (TAP, {}, "passed", "handled", None, Totals(1)),
        (PROBE, {"present": (0, 5), "absent": (5, 30)}, None, "handled", State.MISSING, None),
        (PROBE, {"present": (0, 5), "absent": (5, 30)}, None, "ignored", None, Totals()),
        (PROBE, {"present": (0, 20), "absent": (20, 30)}, None, "handled", None, Totals()),
        (TEMPORARY, {"ended": (5, 5)}, None, "handled", State.UNCONFIRMED, Totals()),
        (TEMPORARY, RAN, None, "handled", State.MISSING, Totals(missing=1)),
        (TEMPORARY, {"ended": (5, 5)}, "passed", "handled", None, Totals(1)),
    ],
)
def test_what_the_listener_missed_meanwhile_is_known(
    observed: Observed,
    spans: Spans,
    report: str | None,
    outcome: str,
    state: State | None,
    at_listener: Totals | None,
) -> None:
    """It was sent 12 seconds after the start, while busmon was blind."""
    bench = AuditBench(observed=observed)
    for kind, (since, until) in spans.items():
        bench.watch(kind, NOW + since, NOW + until)
    if "ended" in spans:  # a listener ran before and another one afterwards
        bench.watch("listener", NOW - 100, NOW + 5)
        bench.watch("listener", NOW + 20, NOW + 100)
    bench.blind((NOW + 11, NOW + 13))
    bench.close(NOW + 80)
    before = bench.totals()
    if report:
        bench.report("1", state=report, at=NOW + 12)
    fill(bench, "1", NOW + 12, outcome)
    expected = {} if state is None else {(Stage.LISTENER, "1"): state}
    found = {place: one for one in (State.MISSING, State.UNCONFIRMED) for place in bench.open(one)}
    assert found == expected
    assert bench.totals()[Stage.LISTENER] == (at_listener or Totals(missing=1))
    assert bench.totals()[Stage.BUS].messages == before[Stage.BUS].messages + (outcome == "handled")
    rows = [row.start - NOW for row in bench.rows(Stage.BUS) if row.place.topic == TOPIC]
    assert rows == ([10] if outcome == "handled" else [])
    bench.ledger.close()
