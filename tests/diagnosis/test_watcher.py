"""Whose fault it is, from what the parts of a service know."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr
from redis import Redis as Client

from busmon.audit.auditor import Auditor
from busmon.diagnosis.bus import Parts
from busmon.diagnosis.listener import STALLED_SECONDS, STARTUP_SECONDS, TRANSIT_SECONDS
from busmon.diagnosis.verdict import FaultKind, Verdict
from busmon.diagnosis.watcher import STALE_SECONDS, VerdictWatcher
from busmon.diagnosis.workers import GROWTH_SECONDS, IDLE_SECONDS, RECENT_SECONDS
from busmon.ledger.batch import Observation, Series
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.message import Judgement
from busmon.observers.base import Observer
from busmon.observers.celery import CeleryObserver, CelerySettings
from busmon.observers.ready import ReadyObserver, ReadySettings
from busmon.observers.ready_client import STATES
from busmon.observers.table import ObservedAudit
from busmon.observers.tap import TapObserver, TapSettings
from busmon.observers.tap_batch import ReportBatch, ReportedMessage
from busmon.rules import HANDLED, RAISES, Rules, rule_set
from busmon.settings.audit import Silence
from busmon.silence.blind_time import BlindTime
from busmon.silence.rates import WEEK_HOURS
from busmon.silence.watcher import SilenceWatcher
from busmon.sources.base import Cause, ConnectionState
from busmon.threads import Threads
from tests.ledger.past import past
from tests.ledger.sql import foreign_writer
from tests.support.brokers import wait_until
from tests.support.brokers.redis import Redis
from tests.support.celery_worker import PROCESS_MESSAGE, make_app
from tests.support.ledgers import NOW
from tests.support.threads import running

DAY = 86400.0


class Bench:
    """One bus `fedora` whose connection is up, at a time that the test sets."""

    def __init__(
        self,
        audit: ObservedAudit = ObservedAudit(),  # noqa: B008 - frozen
        now: float = NOW,
        path: str = ":memory:",
    ) -> None:
        self.now = now
        self.ledger = Ledger(path)
        self.connection = ConnectionState()
        self.connection.up()
        connections = {"fedora": self.connection}
        self.blind = BlindTime(self.ledger, connections, now)
        self.blind.tick(now)
        rule_sets = {"fedora": rule_set("all", Rules())}
        self.silence = SilenceWatcher(Silence(), self.ledger, rule_sets, self.blind)
        self.auditor = Auditor(audit, audit.observed(), self.ledger, WEEK_HOURS, ["fedora"])
        self.observers: list[Observer] = [
            settings.make_observer(self.ledger) for settings in audit.observers().values()
        ]
        observers, auditor = self.observers, self.auditor
        parts = Parts(self.ledger, connections, self.blind, self.silence, observers, auditor)
        self.watch = VerdictWatcher(audit, parts, Threads(), lambda: self.now)

    def refresh(self, after: float = 0.0) -> Verdict:
        self.now += after
        self.blind.tick(self.now)
        self.watch.refresh()
        return self.watch.verdict()

    def wait(self, seconds: float) -> Verdict:
        """Look every ten seconds meanwhile: a longer pause would be a blind time."""
        for _ in range(int(seconds // 10)):
            self.refresh(10)
        return self.refresh(seconds % 10)

    def receive(self, identity: object, topic: str = "a", verdict: Judgement = HANDLED) -> None:
        series = Series("fedora", topic, verdict.outcome, verdict.reason)
        self.ledger.record([Observation(series, str(identity), self.now)])

    def past(self, topic: str, last: float) -> None:
        """Let two messages an hour have come for months, the newest so many seconds ago."""
        hour = int((self.now - last) // 3600)
        hours = dict.fromkeys(range(hour - 12 * WEEK_HOURS, hour + 1), 2)
        past(self.ledger, Series("fedora", topic, "handled", ""), hours, self.now - last)

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Let the observers and the audit work meanwhile."""
        with running(self.auditor.run, *(observer.run for observer in self.observers)):
            yield
        self.ledger.close()


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        ({"a": 60, "b": 60}, FaultKind.NONE),
        ({"a": 2 * DAY, "b": 60}, FaultKind.PUBLISHER),
        ({"a": 2 * DAY, "b": 2 * DAY}, FaultKind.BUS),
        ({"a": 2 * DAY, "b": 2 * DAY, "c": 60}, FaultKind.PUBLISHER),
    ],
)
def test_silent_topics_are_a_publishers_fault_or_the_buss(
    last: dict[str, float], kind: FaultKind
) -> None:
    bench = Bench()
    for topic, seconds in last.items():
        bench.past(topic, seconds)
    bench.silence.learn(bench.now)
    assert bench.refresh().kind is kind
    bench.ledger.close()


def test_a_rare_topic_that_is_not_silent_yet_does_not_hide_that_the_bus_is() -> None:
    bench = Bench()
    bench.past("busy", 5 * 3600)
    bench.past("as busy", 5 * 3600)
    bench.silence.learn(bench.now)
    verdict = bench.refresh()
    assert (verdict.kind, verdict.bus) == (FaultKind.BUS, "fedora")
    assert verdict.evidence[0].startswith("fedora: connected, but no message of any topic")
    bench.ledger.close()


def test_a_lost_connection_is_the_buss_fault_or_busmons_own() -> None:
    bench = Bench()
    for cause, kind in (
        (Cause.NETWORK, FaultKind.CONNECTION),
        (Cause.LEDGER, FaultKind.BUSMON),
        (Cause.ERROR, FaultKind.BUSMON),
    ):
        bench.connection.down(cause, "detail")
        verdict = bench.refresh()
        assert (verdict.kind, verdict.bus) == (kind, "fedora")
        assert verdict.evidence[0].endswith(f"{cause}: detail")
    bench.connection.up()
    assert bench.refresh().kind is FaultKind.NONE
    bench.ledger.close()


def test_a_ledger_that_cannot_be_written_blinds_busmon(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    bench = Bench(path=path)
    with foreign_writer(path), pytest.raises(LedgerWriteError):
        bench.receive(1)
    bench.watch.refresh()
    verdict = bench.watch.verdict()
    assert (verdict.kind, verdict.bus) == (FaultKind.BUSMON, "")
    assert verdict.evidence == ("busmon itself does not work: ledger: database is locked",)
    bench.ledger.close()


def test_a_silence_watch_that_stopped_is_busmons_fault() -> None:
    bench = Bench()
    bench.now += STALE_SECONDS + 1
    assert bench.watch.verdict().kind is FaultKind.BUSMON
    assert bench.refresh().kind is FaultKind.NONE
    bench.ledger.close()


@contextmanager
def monitor() -> Iterator[tuple[str, dict[str, object]]]:
    """A listener's monitor that answers what the test wants; with nothing, not as one."""
    answer: dict[str, object] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/ready", answer
        finally:
            server.shutdown()
            thread.join()


def answers(received: int, *, consuming: bool = True) -> dict[str, object]:
    consumed = dict.fromkeys(STATES, 0) | {"received": received}
    return {"consuming": consuming, "published": 0, "consumed": consumed}


def test_a_listener_is_judged_by_what_its_monitor_says() -> None:
    with monitor() as (url, answer):
        bench = Bench(ObservedAudit(ready=ReadySettings(bus="fedora", url=url, interval=1)))
        [listener] = bench.observers
        assert isinstance(listener, ReadyObserver)
        unknown = ("fedora: not yet known: what the listener's monitor says",)
        assert bench.wait(STARTUP_SECONDS - 1).evidence[-1:] == unknown
        assert bench.refresh(2).kind is FaultKind.LISTENER, "never heard of"
        answer |= answers(5)
        with bench.observing():
            wait_until(listener.up, what="the monitor")
            assert bench.refresh().kind is FaultKind.NONE

            # A zombie: it says that it consumes, and receives nothing of what the bus brings.
            bench.wait(20)
            for number in range(3):
                bench.receive(number)
                assert bench.refresh(1).kind is FaultKind.NONE
            assert bench.wait(STALLED_SECONDS + TRANSIT_SECONDS - 40).kind is FaultKind.NONE, (
                "not for long enough"
            )
            verdict = bench.wait(30)
            assert verdict.kind is FaultKind.LISTENER
            assert "received nothing while the bus brought 3 messages for it" in verdict.evidence[0]
            answer |= answers(6)
            wait_until(lambda: listener.received() == 1, what="the listener's count")
            assert bench.refresh(1).kind is FaultKind.NONE

            bench.receive("killer", "copr", RAISES)
            answer |= answers(6, consuming=False)
            wait_until(lambda: not listener.consuming(), what="its answer")
            verdict = bench.refresh(1)
            assert verdict.kind is FaultKind.LISTENER
            assert "it answers that it is not consuming" in verdict.evidence[0]
            assert verdict.evidence[1].endswith(
                "messages that can kill a listener came in the last 24 h: copr"
            )


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


def test_a_queue_that_only_grows_is_the_workers_fault(redis: Redis) -> None:
    settings = CelerySettings(
        bus="fedora", broker=SecretStr(redis.url), queues=("growing",), interval=1
    )
    bench = Bench(ObservedAudit(celery=settings))
    [celery] = bench.observers
    assert isinstance(celery, CeleryObserver)
    with bench.observing():

        def refresh(length: int, after: float) -> FaultKind:
            with Client.from_url(redis.url) as client:
                client.rpush("growing", *["task"] * (length - int(client.llen("growing"))))
            wait_until(lambda: celery.lengths().get("growing") == length, what="the length")
            return bench.refresh(after).kind

        assert refresh(100, 1) is FaultKind.NONE
        assert refresh(120, 2 * GROWTH_SECONDS + 10) is FaultKind.NONE, "a burst"
        assert bench.refresh(GROWTH_SECONDS).kind is FaultKind.WORKERS
        assert bench.refresh(2 * GROWTH_SECONDS).kind is FaultKind.NONE, "grows no more"


def test_tasks_that_nobody_takes_or_that_fail_are_the_workers_fault(redis: Redis) -> None:
    settings = CelerySettings(
        bus="fedora", broker=SecretStr(redis.url), queues=("waiting",), interval=1
    )
    bench = Bench(ObservedAudit(celery=settings))
    [celery] = bench.observers
    assert isinstance(celery, CeleryObserver)
    app = make_app(redis.url)

    def wait_for_length(length: int) -> None:
        wait_until(lambda: celery.lengths().get("waiting") == length, what="the length")

    with bench.observing(), Client.from_url(redis.url) as client:
        client.rpush("waiting", "task")
        wait_for_length(1)
        with app.connection_for_write() as connection, app.events.Dispatcher(connection) as events:
            events.send("worker-heartbeat", processed=0)  # and then none
        wait_until(celery.up, what="the observer to see")
        assert bench.refresh().kind is FaultKind.NONE
        assert bench.refresh(IDLE_SECONDS - 1).kind is FaultKind.NONE
        verdict = bench.refresh(1)
        assert verdict == (
            FaultKind.WORKERS,
            "fedora",
            (
                "fedora: 1 task waiting in the queue waiting, and no worker has taken one for"
                " 20 min",
            ),
        )
        with app.connection_for_write() as connection, app.events.Dispatcher(connection) as events:
            for task in map(str, range(6)):
                events.send("task-received", uuid=task, name=PROCESS_MESSAGE)
                events.send("task-failed", uuid=task)
        wait_until(lambda: celery.events()["failed"] == 6, what="the events")
        assert bench.refresh(1).evidence == ("fedora: 6 of 6 recent tasks have failed",)
        client.delete("waiting")
        wait_for_length(0)
        assert bench.refresh(RECENT_SECONDS).kind is FaultKind.NONE


def test_messages_missing_from_recent_windows_are_the_listeners_fault() -> None:
    reports = TapSettings(bus="fedora", token=SecretStr("token"))
    bench = Bench(ObservedAudit(window=1, grace=1, reports=reports), time.time())
    [tap] = bench.observers
    assert isinstance(tap, TapObserver)
    begun = time.time()
    sequence = count(1)

    def report(*passed: ReportedMessage) -> Verdict:
        """Let the tap report, and all that there was since the beginning."""
        now = time.time()
        values: dict[str, Any] = {
            "tap": "one",
            "bus": "fedora",
            "until": 0.0,
            "lost": 0,
            "reports": [msgspec.Raw(msgspec.json.encode(message)) for message in passed],
        }
        tap.take(ReportBatch(seq=next(sequence), since=now - begun + 5, **values), now)
        bench.now = now
        return bench.refresh()

    with bench.observing():
        wait_until(lambda: time.time() > begun + 2, what="a window of which all is seen")
        bench.now = time.time()
        for number in range(3):
            bench.receive(number)
        report(
            *(ReportedMessage(id=str(n), topic="a", state="passed", task=str(n)) for n in range(2))
        )
        wait_until(lambda: report().kind is not FaultKind.NONE, what="the window")
        verdict = bench.watch.verdict()
    assert (verdict.kind, verdict.bus) == (FaultKind.LISTENER, "fedora")
    assert verdict.evidence == (
        "fedora: the listener did not pass on 1 of 3 messages of the last windows (busmon gaps)",
    )
