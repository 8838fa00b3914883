"""Whether it is the listener's fault."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from itertools import count
from typing import Any

import msgspec
from pydantic import SecretStr

from busmon.diagnosis.listener import STARTUP_SECONDS, TRANSIT_SECONDS
from busmon.diagnosis.standstill import STALLED_SECONDS
from busmon.diagnosis.verdict import FaultKind, Verdict
from busmon.observers.ready import ReadyObserver, ReadySettings
from busmon.observers.ready_client import STATES
from busmon.observers.table import ObservedAudit
from busmon.observers.tap import NEVER_HEARD, TapObserver, TapSettings
from busmon.observers.tap_batch import ReportBatch
from busmon.rules import RAISES
from busmon.sources.base import Cause
from busmon.sources.listener_queue import DEATH, ListenerQueue
from tests.support.brokers import wait_until
from tests.support.diagnosis import Bench
from tests.support.http_server import Silent, serving
from tests.support.ledgers import NOW
from tests.support.open_gaps import StopsAt


@contextmanager
def monitor() -> Iterator[tuple[str, dict[str, object]]]:
    """A listener's monitor that answers what the test wants; with nothing, not as one."""
    answer: dict[str, object] = {}

    class Handler(Silent, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

    with serving(Handler) as url:
        yield f"{url}/ready", answer


def answers(received: int, *, consuming: bool = True) -> dict[str, object]:
    consumed = dict.fromkeys(STATES, 0) | {"received": received}
    return {"consuming": consuming, "published": 0, "consumed": consumed}


def test_a_listener_is_judged_by_what_its_monitor_says() -> None:
    with monitor() as (url, answer):
        bench = Bench(ObservedAudit(ready=ReadySettings(bus="fedora", url=url, interval=1)))
        [listener] = bench.observers
        assert isinstance(listener, ReadyObserver)
        unknown = ("not yet known: what the listener's monitor says",)
        assert bench.wait(STARTUP_SECONDS - 1).evidence[-1:] == unknown
        assert bench.refresh(2).kind is FaultKind.LISTENER, "never heard of"
        answer |= answers(5)
        with bench.observing():
            wait_until(listener.up, what="the monitor")
            assert bench.refresh().kind is FaultKind.NONE

            # A zombie: it says that it consumes, and receives nothing of what the bus brings.
            bench.wait(TRANSIT_SECONDS + 20)
            for number in range(3):
                bench.receive(number)
                assert bench.refresh(1).kind is FaultKind.NONE
            assert bench.wait(STALLED_SECONDS - TRANSIT_SECONDS - 40).kind is FaultKind.NONE, (
                "not for long enough"
            )
            verdict = bench.wait(30)
            assert verdict.kind is FaultKind.LISTENER
            assert "received nothing while the bus brought 3 messages for it" in verdict.evidence[0]
            answer |= answers(6)
            wait_until(lambda: listener.received()[0] == 1, what="the listener's count")
            assert bench.refresh(1).kind is FaultKind.NONE

            bench.receive("killer", "copr", RAISES)
            answer |= answers(6, consuming=False)
            wait_until(lambda: not listener.consuming(), what="its answer")
            verdict = bench.refresh(1)
            assert verdict.kind is FaultKind.LISTENER
            assert "it answers that it is not consuming" in verdict.evidence[0]
            assert verdict.evidence[1] == (
                "while the listener is down, its queue is gone with its connection,"
                " and new messages are lost"
            )
            assert verdict.evidence[2] == (
                "messages that can kill a listener came in the last 24 h: copr 1 s ago;"
                f" if one does, {DEATH[ListenerQueue.TEMPORARY]}"
            )


def test_an_observer_of_another_bus_says_nothing() -> None:
    bench = Bench(ObservedAudit(ready=ReadySettings(bus="centos", url="http://localhost")))
    verdict = bench.wait(STARTUP_SECONDS + 2)
    assert verdict.kind is FaultKind.NONE
    assert "its listener is not watched" in verdict.evidence[0]
    bench.ledger.close()


def test_messages_after_a_blind_time_are_not_the_listeners_fault() -> None:
    with monitor() as (url, answer):
        answer |= answers(5)
        bench = Bench(ObservedAudit(ready=ReadySettings(bus="fedora", url=url, interval=1)))
        with bench.observing():
            wait_until(bench.observers[0].up, what="the monitor")
            assert bench.refresh(10).kind is FaultKind.NONE
            bench.connection.down(Cause.NETWORK, "gone")
            bench.refresh(10)
            bench.connection.up()
            bench.receive("kept by the broker")
            assert bench.wait(STALLED_SECONDS + TRANSIT_SECONDS + 10).kind is FaultKind.NONE
            assert bench.wait(STALLED_SECONDS + TRANSIT_SECONDS).kind is FaultKind.NONE


def test_a_tap_that_was_never_heard_of_is_nobodys_fault() -> None:
    reports = TapSettings(bus="fedora", token=SecretStr("token"))
    bench = Bench(ObservedAudit(reports=reports))
    [tap] = bench.observers
    assert isinstance(tap, TapObserver)
    verdict = bench.wait(STARTUP_SECONDS + 10)
    assert verdict.kind is FaultKind.NONE
    assert verdict.evidence[-1] == f"nothing is known of what the listener passes on; {NEVER_HEARD}"

    values: dict[str, Any] = {"bus": "fedora", "since": 1.0, "until": 0.0, "lost": 0, "reports": []}
    tap.take(ReportBatch(tap="one", seq=1, **values), NOW)
    assert bench.refresh().evidence[-1].startswith("connected")
    bench.ledger.close()


def test_messages_missing_from_recent_windows_are_the_listeners_fault() -> None:
    reports = TapSettings(bus="fedora", token=SecretStr("token"))
    bench = Bench(ObservedAudit(window=1, grace=1, reports=reports), time.time())
    [tap] = bench.observers
    assert isinstance(tap, TapObserver)
    begun = time.time()
    sequence = count(1)

    def report(*passed: int) -> Verdict:
        """Let the tap report, and all that there was since the beginning."""
        now = time.time()
        values: dict[str, Any] = {
            "tap": "one",
            "bus": "fedora",
            "until": 0.0,
            "lost": 0,
            "reports": [
                msgspec.Raw(b'{"id": "%d", "topic": "a", "state": "passed", "task": "%d"}' % (n, n))
                for n in passed
            ],
        }
        tap.take(ReportBatch(seq=next(sequence), since=now - begun + 5, **values), now)
        bench.auditor.run(StopsAt(20))  # not in a thread: the verdict reads what it wrote last
        bench.now = now
        return bench.refresh()

    wait_until(lambda: time.time() > begun + 2, what="a window of which all is seen")
    bench.now = time.time()
    for number in range(3):
        bench.receive(number)
    report(0, 1)
    wait_until(lambda: report().kind is not FaultKind.NONE, what="the window")
    verdict = bench.verdict()
    bench.ledger.close()
    assert verdict.kind is FaultKind.LISTENER
    text = "the listener did not pass on 1 of 3 messages of the last windows (busmon gaps)"
    assert verdict.evidence[0] == text
    lost = "still lost at the stage listener: 1 message, the oldest of the window from "
    assert verdict.evidence[1].startswith(lost)
    [gap] = json.loads(json.dumps(bench.watch.status()))["open_gaps"]
    assert gap.pop("oldest") >= begun - 1
    assert gap == {"bus": "fedora", "stage": "listener", "messages": 1}
