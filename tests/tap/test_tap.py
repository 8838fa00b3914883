"""The tap in a real `fedora-messaging consume`, beside RabbitMQ, Redis and busmon."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from busmon.ledger.engines import open_read_only
from busmon.ledger.values import Interval
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.busmon_process import Busmon
from tests.support.consumerino import QUEUE
from tests.support.tap_reports import TOKEN
from tests.support.tapped_listener import TappedListener
from tests.tap.conftest import expected_reports, reports, reports_url


@pytest.fixture
def listener(tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis) -> Iterator[TappedListener]:
    listener = TappedListener(tmp_path, rabbitmq, redis)
    yield listener
    listener.close()


def test_busmon_knows_what_the_listener_did_with_each_message(
    tmp_path: Path, busmon: Busmon, listener: TappedListener, redis: Redis
) -> None:
    busmon.start()
    listener.tap(reports_url(busmon))
    listener.start()
    what = ["pass", "drop", "Drop", "pass", "Nack", "drop"]
    before = redis.waiting(QUEUE)
    ids = listener.publish(*what)
    wait_until(lambda: len(reports(tmp_path)) == len(ids), what="every report")
    wait_until(lambda: reports(tmp_path)[ids[4]][0] == "dropped", what="the second try")
    assert reports(tmp_path) == expected_reports(ids, what)
    assert redis.waiting(QUEUE) - before == 2
    metrics = "\n".join(busmon.ask("/metrics?name[]=busmon_observer_up")[1])
    assert 'busmon_observer_up{bus="fedora",observer="tap"} 1.0' in metrics
    assert listener.terminate() == 0


@pytest.mark.parametrize("end", ["raise", "pass to nobody"])
def test_a_callback_that_raises_ends_the_listener_and_is_reported(
    tmp_path: Path, busmon: Busmon, listener: TappedListener, end: str
) -> None:
    busmon.start()
    listener.tap(reports_url(busmon))
    listener.start()
    ids = listener.publish("drop", end)
    assert listener.wait() == 13
    assert reports(tmp_path) == expected_reports(ids, ["drop", end])
    assert listener.drain(listener.queue) == ids[1:]


def test_while_busmon_is_away_the_tap_keeps_its_reports(
    tmp_path: Path, busmon: Busmon, listener: TappedListener
) -> None:
    busmon.start()
    listener.tap(reports_url(busmon))
    listener.start()
    first = listener.publish("pass", "drop")
    wait_until(lambda: len(reports(tmp_path)) == 2, what="the first reports")
    busmon.terminate()
    second = listener.publish("drop", "pass")
    wait_until(lambda: len(listener.called()) == 4, what="the messages to be handled")
    wait_until(
        lambda: listener.logged("Connection refused; reports wait"), what="the tap to notice"
    )
    busmon.start()
    wait_until(lambda: len(reports(tmp_path)) == 4, 40, "the reports that waited")
    assert reports(tmp_path) == expected_reports(first, ["pass", "drop"]) | expected_reports(
        second, ["drop", "pass"]
    )


def test_a_killed_listener_leaves_a_time_without_data(
    tmp_path: Path, busmon: Busmon, listener: TappedListener
) -> None:
    """What it had not reported yet is nowhere, so nothing may be called missing."""
    busmon.start()
    listener.tap(reports_url(busmon))
    for known in (1, 2):
        with listener:  # killed at its end
            listener.publish("drop")
            wait_until(lambda: len(reports(tmp_path)) == known, what="the report")  # noqa: B023 - at once
    first, second = covered(tmp_path)
    assert first[1] < second[0]


def covered(directory: Path) -> list[Interval]:
    """Return the intervals in which busmon knows all that the tap saw."""
    with open_read_only(str(directory / "ledger.sqlite")) as tables:
        return tables.coverage.intervals("tap:fedora")


def test_a_wrong_token_is_logged_once_and_the_listener_continues(
    tmp_path: Path, busmon: Busmon, listener: TappedListener
) -> None:
    busmon.start()
    listener.tap(reports_url(busmon), token="s3cret-but-wrong")
    listener.start()
    listener.publish("drop")
    wait_until(lambda: listener.logged("status 401"), what="the refusal")
    listener.publish("pass")
    wait_until(lambda: len(listener.called()) == 2, what="the listener to continue")
    name = "busmon_tap_reports_refused_total"
    wait_until(
        lambda: f'{name}{{reason="token"}} 1.0' not in busmon.ask("/metrics")[1], 20, "a retry"
    )
    assert listener.output().count("status 401") == 1
    assert "s3cret" not in listener.output()
    assert reports(tmp_path) == {}
    assert listener.terminate() == 0


def test_a_busmon_that_never_answers_does_not_hold_up_the_listener(
    listener: TappedListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIPPED_FLUSH_TIMEOUT", "yes")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        listener.tap(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1/reports")
        with listener:
            listener.publish(*["drop"] * 300)
            wait_until(lambda: len(listener.called()) == 300, what="the messages")
            assert listener.terminate(15) == 0  # 2 s, on a machine that is not busy


CALLBACKS = [
    ("function", "raise"),
    ("Consumerino", "halt, requeue"),
    ("instance", "exit"),
    ("coroutine", "halt"),
    ("Async", "pass, then raise"),
]


@pytest.mark.parametrize(("callback", "end"), CALLBACKS)
def test_the_tap_changes_nothing_of_what_a_callback_does(
    tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis, callback: str, end: str
) -> None:
    what = ["drop", "Nack", "pass", "Drop"]
    callback = f"tests.support.consumerino:{callback}"
    plain = TappedListener(tmp_path / "plain", rabbitmq, redis, callback)
    tapped = TappedListener(tmp_path / "tapped", rabbitmq, redis, callback)
    tapped.tap("http://127.0.0.1:9/v1/reports")

    def outcome(listener: TappedListener, names: dict[str, str]) -> dict[str, object]:
        wait_until(lambda: len(listener.called()) == 5, what="all calls, one twice")
        names |= dict.fromkeys(listener.publish(end), end)
        return {
            "status": listener.wait(),
            "calls": [names[identity] for identity in listener.called()],
            "left": [names[identity] for identity in listener.drain(listener.queue)],
            "dropped": [names[identity] for identity in listener.drain(listener.dropped)],
        }

    try:
        with plain, tapped:  # both at a time
            ids = [dict(zip(each.publish(*what), what, strict=True)) for each in (plain, tapped)]
            assert outcome(tapped, ids[1]) == outcome(plain, ids[0])
    finally:
        plain.close()
        tapped.close()


@pytest.mark.parametrize(
    ("callback", "reason"),
    [
        ("tests.support.nowhere:Consumerino", "No module named 'tests.support.nowhere'"),
        ("tests.support.consumerino:missing", "has no attribute 'missing'"),
        ("tests.support.consumerino:number", "Callback must be a class"),
        ("tests.support.consumerino:NoCallback", "Callback must be a class"),
        ("tests.support.consumerino:Unmakeable", "RuntimeError: no settings"),
        ("tests.support.consumerino", "module"),
    ],
)
def test_what_is_no_callback_is_refused_as_without_the_tap(
    tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis, callback: str, reason: str
) -> None:
    plain = TappedListener(tmp_path / "plain", rabbitmq, redis, callback)
    tapped = TappedListener(tmp_path / "tapped", rabbitmq, redis, callback)
    tapped.tap("http://127.0.0.1:9/v1/reports")
    try:
        statuses = [listener.run() for listener in (plain, tapped)]
        assert statuses[0] == statuses[1] != 0, tapped.output()
        assert [plain.logged(reason), tapped.logged(reason)] == [True, True]
    finally:
        plain.close()
        tapped.close()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"url": "busmon"}, "url should be"),
        ({"token_file": "/nowhere"}, "wrong or missing: either token or token_file"),
        ({"token": "", "token_file": "/nowhere"}, "wrong or missing: token"),
        ({"tokn": "x", "bus": 7}, "wrong or missing: bus, tokn"),
        ({"url": "https://busmon", "ca": "/nowhere"}, "No such file"),
    ],
)
def test_wrong_settings_of_the_tap_are_logged_and_the_listener_works(
    listener: TappedListener, settings: dict[str, str], problem: str
) -> None:
    listener.tap(**{"url": "http://127.0.0.1:9"} | settings)
    with listener:
        listener.publish("drop")
        wait_until(listener.called, what="the message")
        assert listener.logged("the tap reports nothing to busmon: ")
        assert listener.logged(problem)
        assert TOKEN not in listener.output()
