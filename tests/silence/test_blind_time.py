"""Blind times: when busmon did not receive, over lost connections, restarts and `kill -9`."""

import time
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busmon.ledger.ledger import Ledger
from busmon.ledger.values import Interval
from busmon.silence.blind_time import HISTORY_LINES, WRITE_INTERVAL, BlindTime
from busmon.silence.reception import (
    BLIND_TIMES_KEPT_SECONDS,
    MAX_TICK_GAP_SECONDS,
    Reception,
    WatchedBus,
    blind_by_hour,
)
from busmon.sources.base import Cause, ConnectionState
from tests.support.brokers import wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.busmon_process import Busmon
from tests.support.ledgers import NOW, judged, unwritable

UP, DOWN = True, False

# Ticks, as (seconds since the start, up, times that it was connected), and the blind times that
# follow from them.
TICKS = [
    ("connected at once", [(1, UP, 1), (2, UP, 1), (3, UP, 1)], [(0, 1)]),
    ("never connected", [(1, DOWN, 0), (60, DOWN, 0)], [(0, 60)]),
    ("lost and found", [(1, UP, 1), (2, DOWN, 1), (9, UP, 2), (10, UP, 2)], [(0, 1), (1, 9)]),
    ("lost and found between two ticks", [(1, UP, 1), (2, UP, 2)], [(0, 1), (1, 2)]),
    ("still lost", [(1, UP, 1), (2, UP, 1), (3, DOWN, 1), (9, DOWN, 1)], [(0, 1), (2, 9)]),
    (
        "suspended",
        [(1, UP, 1), (2 + MAX_TICK_GAP_SECONDS, UP, 1)],
        [(0, 1), (1, 2 + MAX_TICK_GAP_SECONDS)],
    ),
    ("slow", [(1, UP, 1), (1 + MAX_TICK_GAP_SECONDS, UP, 1)], [(0, 1)]),
    ("clock set back", [(9, UP, 1), (5, UP, 1), (6, UP, 1)], [(0, 5)]),
    ("clock set back while lost", [(9, UP, 1), (10, DOWN, 1), (5, UP, 2)], [(0, 5)]),
]


@pytest.mark.parametrize(
    ("ticks", "blind"), [row[1:] for row in TICKS], ids=[row[0] for row in TICKS]
)
def test_what_lies_between_two_moments_of_receiving_is_blind(
    ticks: list[tuple[float, bool, int]], blind: list[tuple[float, float]]
) -> None:
    reception = Reception(NOW)
    for at, up, connects in ticks:
        reception = reception.after(NOW + at, WatchedBus(up, connects))
    end = NOW + ticks[-1][0]
    intervals = [(NOW + since, NOW + until) for since, until in blind]
    assert reception.blind_between(0.0, end) == intervals
    assert reception.blind_seconds(end) == sum(until - since for since, until in intervals)


@given(st.lists(st.tuples(st.floats(0.1, 100), st.booleans(), st.integers(0, 1)), min_size=1))
def test_blind_seconds_never_decrease_and_never_exceed_the_time(
    ticks: list[tuple[float, bool, int]],
) -> None:
    reception, now, connects, before = Reception(NOW), NOW, 0, 0.0
    for wait, up, new in ticks:
        now += wait
        connects += new
        assert before <= reception.blind_seconds(now) + 1e-6
        reception = reception.after(now, WatchedBus(up, connects))
        assert before <= reception.blind_seconds(now) + 1e-6
        assert reception.blind_seconds(now) <= now - NOW + 1e-6
        before = reception.blind_seconds(now)


def test_blind_times_that_overlap_the_asked_time_are_found() -> None:
    known = tuple(Interval(start, start + 10.0) for start in (100.0, 200.0, 300.0))
    reception = Reception(400.0, 30.0, known, receiving=True, connects=1)
    assert reception.blind_between(105, 205) == [(100, 110), (200, 210)]
    assert reception.blind_between(110, 200) == []
    assert reception.blind_between(0, 1000) == list(known)


def test_old_blind_times_are_deleted_and_still_counted() -> None:
    reception = Reception(NOW).after(NOW + 5, WatchedBus(UP, 1))
    later = NOW + BLIND_TIMES_KEPT_SECONDS + 10
    reception = reception.after(later, WatchedBus(UP, 2))
    reception = reception.forgetting(later - BLIND_TIMES_KEPT_SECONDS)
    assert reception.blind_times == ((NOW + 5, later),)
    assert reception.blind_seconds(later) == later - NOW


def test_a_blind_time_is_split_into_hours() -> None:
    hour = 490_000
    intervals = [Interval(hour * 3600 + 3000, (hour + 2) * 3600 + 60), Interval(hour * 3600, 1e-9)]
    assert blind_by_hour(intervals[:1]) == {hour: 600, hour + 1: 3600, hour + 2: 60}
    assert blind_by_hour([]) == {}


def test_a_restart_continues_from_the_last_write(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    ledger, link = Ledger(path), ConnectionState()
    blind = BlindTime(ledger, {"fedora": link}, NOW)
    link.up()
    for second in range(1, 27):
        blind.tick(NOW + second)
    assert blind.seconds(NOW + 27) == {"fedora": 1}
    ledger.close()  # and no more is written, as after kill -9

    ledger, link = Ledger(path), ConnectionState()
    blind = BlindTime(ledger, {"fedora": link}, NOW + 60)
    written = 1 + 2 * WRITE_INTERVAL
    assert blind.seconds(NOW + 61) == {"fedora": 1 + 61 - written}
    link.up()
    blind.tick(NOW + 70)
    assert blind.seconds(NOW + 71) == {"fedora": 1 + 70 - written}
    assert blind.reception("fedora").blind_times[-1] == (NOW + written, NOW + 70)
    with ledger.write() as tables:
        known = tables.blind_times.load("fedora", NOW, oldest=0)
    assert known.intervals == ((NOW, NOW + 1), (NOW + written, NOW + 70))
    ledger.close()


def test_what_cannot_be_written_is_written_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "ledger.sqlite")
    ledger, link = Ledger(path), ConnectionState()
    blind = BlindTime(ledger, {"fedora": link}, NOW)
    with unwritable(path):
        link.up()
        blind.tick(NOW + 5)
        link.down(Cause.NETWORK, "gone")
        blind.tick(NOW + 6)
        link.up()
        blind.tick(NOW + 9)
        assert blind.seconds(NOW + 9) == {"fedora": 9}
    blind.tick(NOW + 10)
    with ledger.write() as tables:
        known = tables.blind_times.load("fedora", NOW, oldest=0)
    assert known == (NOW + 10, 9, ((NOW, NOW + 5), (NOW + 5, NOW + 9)))
    assert len(caplog.messages) == 1
    with unwritable(path):
        blind.tick(NOW + 30)
    assert len(caplog.messages) == 2
    ledger.close()


def test_the_moment_of_a_loss_and_of_the_end_is_written(tmp_path: Path) -> None:
    """Without waiting for `WRITE_INTERVAL`."""
    ledger, link, stopping = Ledger(str(tmp_path / "ledger.sqlite")), ConnectionState(), Event()
    blind = BlindTime(ledger, {"fedora": link}, NOW)

    def written() -> float:
        with ledger.write() as tables:
            return tables.blind_times.load("fedora", NOW, oldest=0).watched_until

    link.up()
    blind.tick(NOW + 1)
    blind.tick(NOW + 2)
    assert written() == NOW + 1
    link.down(Cause.NETWORK, "gone")
    blind.tick(NOW + 3)
    assert written() == NOW + 2
    link.up()
    blind.tick(NOW + 4)
    blind.tick(NOW + 5)
    stopping.set()
    blind.run(stopping)
    assert written() == NOW + 5
    ledger.close()


def blind_seconds(busmon: Busmon) -> float:
    _, lines = busmon.ask("/metrics?name[]=busmon_blind_seconds_total")
    return next(float(line.split()[1]) for line in lines if line.startswith("busmon_blind"))


def test_blind_time_grows_while_the_broker_is_down_and_after_kill_9(
    tmp_path: Path, certificates: Certificates
) -> None:
    broker = Mosquitto(tmp_path / "broker", certificates).start()
    bus = {"type": "mqtt", "rules": "all", "url": broker.url, "topics": ["#"], "client_id": "me"}
    started = time.time()
    try:
        with Busmon(tmp_path, {"fedora": bus}) as busmon:
            busmon.wait_until_ready()
            wait_until(lambda: blind_seconds(busmon) > 0, what="the start to be noted")
            broker.stop()
            wait_until(busmon.troubles, what="the lost connection")
            lost = blind_seconds(busmon)
            wait_until(lambda: blind_seconds(busmon) > lost + 1, what="blind time to grow")
            broker.start()
            busmon.wait_until_ready()
            steady = [-1.0]

            def no_more() -> bool:
                steady.append(blind_seconds(busmon))
                time.sleep(0.1)
                return steady[-1] == blind_seconds(busmon)

            wait_until(no_more, what="blind time to stand still")
            busmon.kill()
            killed = time.time()
            time.sleep(2)
            down = time.time() - killed
            busmon.start()
            busmon.wait_until_ready()
            wait_until(
                lambda: blind_seconds(busmon) >= steady[-1] + down,
                what="the time of the kill to be noted",
            )
            assert blind_seconds(busmon) <= time.time() - started
    finally:
        broker.close()


def test_a_thread_that_hangs_is_blind_from_its_last_turn_on() -> None:
    reception = Reception(NOW).after(NOW + 1, WatchedBus(UP, 1))
    for busy in range(1, 8):
        reception = reception.after(NOW + 1 + busy, WatchedBus(UP, 1, busy_seconds=busy + 0.5))
    reception = reception.after(NOW + 9, WatchedBus(DOWN, 1, busy_seconds=8))
    assert reception.blind_between(NOW + 1, NOW + 9) == [Interval(NOW + 1, NOW + 9)]
    reception = reception.after(NOW + 20, WatchedBus(UP, 1))
    assert reception.blind_seconds(NOW + 20) == 20


def test_a_thread_that_was_only_busy_is_not_blind() -> None:
    reception = Reception(NOW).after(NOW, WatchedBus(UP, 1))
    reception = reception.after(NOW + 5, WatchedBus(UP, 1, busy_seconds=5))
    reception = reception.after(NOW + 6, WatchedBus(UP, 1))
    assert reception.blind_seconds(NOW + 6) == 0


@pytest.mark.parametrize(
    ("last_message", "blind"),
    [
        (NOW + 30, (NOW + 30, NOW + 70)),
        (NOW + 5, (NOW + 10, NOW + 70)),
        (NOW + 65, (NOW + 60, NOW + 70)),  # after the last tick
        (None, (NOW + 60, NOW + 70)),
    ],
)
def test_what_a_broker_forgot_is_blind_since_the_last_message(
    last_message: float | None, blind: tuple[float, float]
) -> None:
    """But no time counts twice: until NOW + 10 there was another blind time."""
    known = (Interval(NOW, NOW + 10),)
    reception = Reception(NOW + 60, 10.0, known, receiving=True, connects=1)
    reception = reception.lost_since(last_message).after(NOW + 70, WatchedBus(UP, 2))
    assert reception.blind_times == (*known, Interval(*blind))
    assert reception.blind_seconds(NOW + 70) == 10 + blind[1] - blind[0]


def test_what_a_broker_forgot_is_blind_after_a_restart_too(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    ledger, link = Ledger(path), ConnectionState()
    ledger.record(judged("one", at=NOW - 100))
    blind = BlindTime(ledger, {"fedora": link}, NOW)
    link.up(forgotten=True)
    blind.tick(NOW + 1)
    [line] = blind.history()
    assert line.startswith("fedora: the broker kept nothing from ")
    blind.tick(NOW + 1)
    assert len(blind.history()) == 1
    ledger.close()
    blind = BlindTime(Ledger(path), {"fedora": ConnectionState()}, NOW + 1)
    assert blind.reception("fedora").blind_times == (Interval(NOW - 100, NOW + 1),)


def test_only_the_last_times_that_a_broker_forgot_are_listed() -> None:
    ledger, link = Ledger(":memory:"), ConnectionState()
    blind = BlindTime(ledger, {"fedora": link}, NOW)
    for second in range(HISTORY_LINES + 2):
        link.up(forgotten=True)
        blind.tick(NOW + second)
    assert len(blind.history()) == HISTORY_LINES
    ledger.close()
