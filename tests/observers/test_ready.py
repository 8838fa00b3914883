"""The ready poll: a real listener's monitor, and answers of what is none."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest
from prometheus_client import CollectorRegistry

from busmon.ledger.ledger import Ledger
from busmon.observers.ready import ReadyObserver, ReadySettings, increases
from busmon.observers.ready_client import MonitorAnswer, Unanswered, ask, parse
from tests.samples import FEDORA_FILE
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.endless import endless
from tests.support.http_server import Silent, serving
from tests.support.monitored_listener import MonitoredListener
from tests.support.threads import running


class Watch:
    """An observer at work, and its ledger."""

    def __init__(self, path: Path | str, url: str) -> None:
        self.ledger = Ledger(str(path))
        settings = ReadySettings(bus="fedora", url=url, interval=1)
        self.observer = ReadyObserver(settings, self.ledger)
        self._registry = CollectorRegistry()
        self._registry.register(self.observer)

    def value(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(name, {"bus": "fedora"} | labels)

    def up(self) -> bool:
        return self.value("busmon_listener_up") == 1

    def restarts(self) -> float | None:
        return self.value("busmon_listener_restarts_total")

    def totals(self) -> dict[str, float | None]:
        states = ("received", "processed", "dropped", "rejected", "failed")
        name = "busmon_listener_messages_total"
        found = {state: self.value(name, state=state) for state in states}
        return {state: number for state, number in found.items() if number != 0}

    def wait_for(self, **totals: float) -> None:
        wait_until(lambda: self.totals() == totals, what=f"{totals}")


@contextmanager
def watching(path: Path | str, url: str) -> Iterator[Watch]:
    watch = Watch(path, url)
    with running(watch.observer.run):
        yield watch
    watch.ledger.close()


def test_the_listeners_counts_continue_over_restarts_of_either(
    tmp_path: Path, rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "busmon")
    ledger = tmp_path / "ledger.sqlite"
    with MonitoredListener(tmp_path, rabbitmq) as listener:
        with watching(ledger, listener.url) as watch:
            wait_until(watch.up, what="the listener to be seen")
            assert (watch.totals(), watch.restarts()) == ({}, 0)
            listener.publish("pass", "drop", "reject")
            counted = {"received": 4.0, "processed": 2.0, "dropped": 1.0, "rejected": 1.0}
            watch.wait_for(**counted)
            listener.terminate()
            wait_until(lambda: not watch.observer.up(), what="the listener to be down")
            assert not watch.up()
            assert watch.totals() == counted
            listener.start()
            wait_until(watch.up, what="the listener to be back")
            listener.publish("pass")
            watch.wait_for(**counted | {"received": 5, "processed": 3})
            assert watch.restarts() == 1
            *lost, back = [record.getMessage() for record in caplog.records]
            none = f"ready:fedora: {listener.url}: no answer: "
            assert f"{none}[Errno 111] Connection refused" in lost
            assert all(line.startswith(none) for line in lost)  # at its end, it may hang up on one
            assert len({*lost}) == len(lost)
            assert back == "ready:fedora: receives data again"
        listener.publish("pass")
        with watching(ledger, listener.url) as watch:
            watch.wait_for(**counted | {"received": 6, "processed": 4})
            assert watch.restarts() == 1


def test_a_busmon_beside_the_listener_serves_what_it_says(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    listener = MonitoredListener(tmp_path, rabbitmq)
    bus = {"type": "replay", "rules": "packit", "files": [str(FEDORA_FILE)]}
    busmon = Busmon(tmp_path, {"fedora": bus})
    busmon.configure(f'[audit.ready]\nbus = "fedora"\nurl = "{listener.url}"\ninterval = "1s"')

    def says(*lines: str) -> bool:
        return set(lines) <= set(busmon.ask("/metrics")[1])

    up = 'busmon_listener_up{bus="fedora"}'
    received = 'busmon_listener_messages_total{bus="fedora",state="received"}'
    with busmon:
        assert says(f"{up} 0.0", f"{received} 0.0")
        with listener:
            observer = 'busmon_observer_up{bus="fedora",observer="ready"}'
            wait_until(lambda: says(f"{up} 1.0", f"{observer} 1.0"), what="the listener")
            listener.publish("pass", "pass")
            wait_until(lambda: says(f"{received} 2.0"), what="its messages")
        wait_until(lambda: says(f"{up} 0.0", f"{observer} 0.0"), what="its end")
        assert busmon.ask("/ready") == (200, ["ready"])
        assert busmon.terminate() == 0


# Totals


def totals(*values: int) -> dict[str, int]:
    return dict(zip(("received", "processed"), values, strict=True))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(7, 5)], (0, 0, 0)),  # from before it was first asked
        ([(7, 5), (9, 5)], (2, 0, 0)),
        ([(7, 5), (2, 1)], (2, 1, 1)),
        ([(7, 5), (9, 1)], (9, 1, 1)),  # more already than before, but not of all
        ([(0, 0), (5, 5), (0, 0), (3, 3), (1, 0)], (9, 8, 2)),
    ],
)
def test_totals_continue_when_the_listener_restarted(
    answers: list[tuple[int, int]], expected: tuple[int, ...]
) -> None:
    ledger = Ledger(":memory:")
    with ledger.write() as tables:
        for answer in answers:
            grown = increases(tables.listener.last("fedora"), totals(*answer))
            tables.listener.add("fedora", grown)
        found = tables.listener.totals("fedora")
    assert (found["received"], found["processed"], found["restarts"]) == expected
    ledger.close()


# Answers

GOOD = (
    b'{"consuming": true, "published": 0, "consumed":'
    b' {"received": 5, "processed": 4, "dropped": 3, "rejected": 2, "failed": 1}}'
)


def test_an_answer_is_read() -> None:
    counts = {"received": 5, "processed": 4, "dropped": 3, "rejected": 2, "failed": 1}
    assert parse(GOOD) == MonitorAnswer(True, counts)
    assert parse(GOOD.replace(b"true", b"false")) == MonitorAnswer(False, counts)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xfe",
        b"ready\n",
        b"[]",
        b"null",
        b"[" * 60_000,
        GOOD.replace(b"true", b'"yes"'),
        GOOD.replace(b"true", b"1"),
        GOOD.replace(b"5", b"-5"),
        GOOD.replace(b"5", b"5.0"),
        GOOD.replace(b"5", b"true"),
        GOOD.replace(b"5", b"9" * 30),
        GOOD.replace(b"5", b"9" * 5000),
        GOOD.replace(b"received", b"receive"),
        b'{"consuming": true, "consumed": [1]}',
    ],
    ids=range(15),
)
def test_garbage_is_no_answer(garbage: bytes) -> None:
    with pytest.raises(Unanswered, match="does not answer as fedora-messaging's monitor does"):
        parse(garbage)


class Garbage(Silent, BaseHTTPRequestHandler):
    """Answers each path with something that a monitor would not say."""

    ANSWERS: ClassVar[dict[str, bytes]] = {
        "/good": b"HTTP/1.0 200 OK\r\n\r\n" + GOOD,
        "/stopped": b"HTTP/1.0 200 OK\r\n\r\n" + GOOD.replace(b"true", b"false"),
        "/endless": b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 2**20,
        "/error": b"HTTP/1.0 500 Oops\r\n\r\n" + GOOD,
        "/moved": b"HTTP/1.0 302 Found\r\nLocation: /good\r\n\r\n",
        "/nothing": b"",
        "/noise": b"\x00\xff" * 100,
        "/cut": b"HTTP/1.0 200 OK\r\nContent-Length: 999\r\n\r\n{",
    }

    def do_GET(self) -> None:
        self.close_connection = True
        self.wfile.write(self.ANSWERS[self.path])


@pytest.fixture(scope="module")
def garbage() -> Iterator[str]:
    with serving(Garbage) as url:
        yield url


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/endless", "no answer: the answer is too long"),
        ("/error", "answers with status 500"),
        ("/moved", "answers with status 302"),
        ("/nothing", "no answer: Remote end closed"),
        ("/noise", "no answer: "),
        ("/cut", "(no|does not) answer"),
    ],
)
def test_an_unexpected_answer_is_reported(garbage: str, path: str, reason: str) -> None:
    with pytest.raises(Unanswered, match=reason):
        ask(f"{garbage}{path}")


def test_a_monitor_that_says_continue_without_end_is_left() -> None:
    with endless("continue") as url, pytest.raises(Unanswered, match="too long"):
        ask(url)


def test_a_listener_that_answers_but_does_not_consume_is_not_up(garbage: str) -> None:
    with watching(":memory:", f"{garbage}/stopped") as watch:
        wait_until(watch.observer.up, what="an answer")
        assert watch.value("busmon_listener_up") == 0


def test_a_poll_without_an_answer_is_no_coverage(
    garbage: str, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(":memory:", f"{garbage}/error") as watch:
        wait_until(lambda: "status 500" in caplog.text, what="a poll")
        with watch.ledger.read() as tables:
            assert tables.coverage.intervals("ready:fedora") == []
    with watching(":memory:", f"{garbage}/good") as watch:
        wait_until(watch.observer.up, what="an answer")
        with watch.ledger.read() as tables:
            assert len(tables.coverage.intervals("ready:fedora")) == 1
