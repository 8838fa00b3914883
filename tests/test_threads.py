"""Threads that die, return too early or hang: in a group of their own, and in a busmon process."""

import logging
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from busmon.config.load import load
from busmon.ledger.ledger import Ledger
from busmon.service import Service, open_service
from busmon.settings.models import Web
from busmon.threads import FairLock, Threads, stack
from busmon.web.app import make_app
from busmon.web.health import ready_view
from busmon.web.server import WebServer
from tests.samples import CENTOS_FILE, FEDORA_FILE
from tests.support.bad_threads import KILLED, LOOKED_AT, SLOW, STUCK
from tests.support.brokers import Server, free_port, wait_until
from tests.support.busmon_process import PROJECT, Busmon
from tests.support.stalls import watching_for_stalls


def wait_for(stopping: threading.Event) -> None:
    assert stopping.wait(30)


def die(error: BaseException) -> None:
    raise error


def waits(name: str) -> bool:
    """Return whether the thread of this name waits for a fair lock."""
    return "turn.wait()" in stack(name)


def test_a_fair_lock_goes_to_who_waits_longest() -> None:
    lock, order = FairLock(), list[int]()

    def take(number: int) -> None:
        with lock:
            order.append(number)

    with lock:
        waiting = [threading.Thread(target=take, args=(n,), name=f"taker-{n}") for n in range(5)]
        for thread in waiting:
            thread.start()
            wait_until(partial(waits, thread.name))
    take(5)  # at once, but after all who waited before
    for thread in waiting:
        thread.join(30)
    assert order == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("at", ["set", "wait"])
def test_who_is_interrupted_while_waiting_for_a_fair_lock_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    lock, errors, real = FairLock(), [KeyboardInterrupt()], getattr(threading.Event, at)

    def interrupted(event: threading.Event) -> object:
        if errors:
            raise errors.pop()
        return real(event)

    with lock:
        monkeypatch.setattr(threading.Event, at, interrupted)
        with pytest.raises(KeyboardInterrupt), lock:
            pytest.fail("it is not free")
    with lock:
        pass


def test_threads_run_until_they_are_asked_to_stop() -> None:
    threads, on_death, woken = Threads(), threading.Event(), threading.Event()
    threads.add("event", wait_for)
    threads.add("wake", lambda _: wait_for(woken), woken.set)
    threads.start(on_death)
    assert {"event", "wake"} <= {thread.name for thread in threading.enumerate()}
    assert threads.stop(30)
    assert (threads.problem(), on_death.is_set()) == (None, False)
    assert not {"event", "wake"} & {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("error", [RuntimeError("a bug"), SystemExit("a bug")])
def test_a_thread_that_dies_is_a_problem_and_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    threads, on_death = Threads(), threading.Event()
    threads.add("well", wait_for)
    threads.add("ill", lambda _: die(error))
    threads.start(on_death)
    assert on_death.wait(30)
    assert threads.problem() == f"thread ill died: {type(error).__name__}('a bug')"
    assert threads.stop(30)
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "thread ill died")
    assert record.exc_info
    assert record.exc_info[1] is error


def test_a_thread_that_returns_too_early_has_died(caplog: pytest.LogCaptureFixture) -> None:
    threads, on_death = Threads(), threading.Event()
    threads.add("well", wait_for)
    threads.add("early", lambda _: None)
    threads.start(on_death)
    assert on_death.wait(30)
    why = "RuntimeError('it returned before it was asked to stop')"
    assert threads.problem() == f"thread early died: {why}"
    assert threads.stop(30)
    assert caplog.messages == ["thread early died"]


def test_a_thread_that_may_end_has_not_died() -> None:
    threads, on_death = Threads(), threading.Event()
    threads.add("file", lambda _: None, may_end=True)
    threads.start(on_death)
    wait_until(lambda: "file" not in {thread.name for thread in threading.enumerate()})
    assert (threads.problem(), on_death.is_set()) == (None, False)
    assert threads.stop(30)


def test_the_first_thread_that_died_stays_the_problem() -> None:
    threads, second = Threads(), threading.Event()
    threads.add("first", lambda _: die(RuntimeError("1")))

    def die_second(_stopping: threading.Event) -> None:
        second.wait(30)
        die(RuntimeError("2"))

    threads.add("second", die_second)
    on_death = threading.Event()
    threads.start(on_death)
    assert on_death.wait(30)
    second.set()
    assert threads.stop(30)
    assert threads.problem() == "thread first died: RuntimeError('1')"


def test_a_thread_that_hangs_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    threads, released = Threads(), threading.Event()
    threads.add("well", wait_for)
    threads.add("stuck", lambda _: wait_for(released))
    threads.start(threading.Event())
    started = time.monotonic()
    with watching_for_stalls() as latest:
        assert not threads.stop(2)
    assert time.monotonic() - started < 5 + latest()
    assert caplog.messages == ["still running after 2 s, left behind: stuck"]
    released.set()
    assert threads.stop(30)


# A busmon process

OBSERVERS = """
[audit.ready]
bus = "slow"
url = "http://127.0.0.1:{port}/ready"
[audit.celery]
bus = "slow"
broker = "redis://127.0.0.1:{port}"
[audit.reports]
bus = "slow"
token = "token"
"""
BUSES = {
    "fedora": {"type": "replay", "rules": "packit", "files": [str(FEDORA_FILE)], "rate": 1},
    "slow": {"type": "replay", "rules": SLOW, "files": [str(CENTOS_FILE)], "rate": 1},
}
THREADS = {
    "source:fedora",
    "source:slow",
    "ready:slow",
    "celery:slow",
    "tap:slow",
    "blind-time",
    "silence",
    "audit",
    "acceptances",
    "verdict",
    "incidents",
    "levels",
    "pruning",
    "watchdog",
    "web",
}


def observed(directory: Path) -> Busmon:
    """Return a busmon that has every thread there is."""
    busmon = Busmon(directory, BUSES)
    with (directory / "busmon.toml").open("a") as file:
        file.write(OBSERVERS.format(port=free_port()))
    return busmon


def test_the_list_of_this_test_has_every_thread(tmp_path: Path) -> None:
    observed(tmp_path)
    config = load(tmp_path / "busmon.toml", {})
    service = open_service(config, Ledger(config.ledger.path), WebServer(config.web))
    before, stopping = set(threading.enumerate()), threading.Event()
    main = threading.Thread(target=service.run, args=(stopping,), name="main")
    started: set[str] = set()

    def all_started() -> bool:
        started.update(thread.name for thread in set(threading.enumerate()) - before)
        return started >= THREADS

    main.start()
    wait_until(all_started, what="the threads to start")
    stopping.set()
    main.join(30)
    assert started == {"main", *THREADS}


def busmon_with_dying(thread: str, directory: Path) -> Busmon:
    busmon = observed(directory)
    busmon.argv = [sys.executable, "-m", "tests.support.bad_threads", thread, *busmon.argv[3:]]
    return busmon


def assert_ended_by_death(busmon: Server, thread: str) -> None:
    assert busmon.wait() == 1
    lines = busmon.output().splitlines()
    died = f"thread {thread} died"
    assert any(line.endswith(f" ERROR   {died}") for line in lines)
    assert {"Traceback (most recent call last):", f"RuntimeError: {KILLED}"} <= set(lines)
    assert lines[-1] == f"busmon: {died}: RuntimeError('{KILLED}'); the log has the traceback"


@pytest.mark.parametrize("thread", sorted(THREADS - {"source:slow", "web"}))
def test_a_dead_thread_shows_in_ready_and_ends_the_process(tmp_path: Path, thread: str) -> None:
    died = f"thread {thread} died: RuntimeError('{KILLED}')"
    busmon, looked_at = busmon_with_dying(thread, tmp_path), tmp_path / "looked-at"
    busmon.put_into_environment(**{LOOKED_AT: looked_at})
    with busmon:
        wait_until(lambda: died in busmon.ask("/ready")[1], what="/ready to name it")
        assert f"busmon itself does not work: {died}" in busmon.ask("/v1/status")[1][0]
        looked_at.touch()
        assert_ended_by_death(busmon, thread)


def test_a_web_thread_that_dies_ends_the_process(tmp_path: Path) -> None:
    busmon = busmon_with_dying("web", tmp_path)
    with Server(busmon.argv, busmon.log, cwd=PROJECT) as process:
        assert_ended_by_death(process, "web")


def test_a_thread_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    stuck = {"type": "replay", "rules": STUCK, "files": [str(CENTOS_FILE)]}
    with Busmon(tmp_path, {"stuck": stuck, "fedora": BUSES["fedora"]}) as busmon:
        busmon.wait_until_ready()
        assert busmon.terminate(10) == 0  # 5 s, on a machine that is not busy
    assert busmon.logged("WARNING still running after 3.5 s, left behind: source:stuck")


def test_a_write_that_hangs_does_not_hold_up_the_end() -> None:
    ledger, threads, released = Ledger(":memory:"), Threads(), threading.Event()

    def write(_stopping: threading.Event) -> None:
        with ledger.write():
            wait_for(released)

    threads.add("writer", write)
    app = make_app(Web(), CollectorRegistry(), ready_view(list))
    service = Service(ledger, threads, WebServer(Web(listen="127.0.0.1:0")), app)
    stopping = threading.Event()
    stopping.set()
    main = threading.Thread(target=service.run, args=(stopping,))
    main.start()
    main.join(20)  # `write` would wait for longer
    assert not main.is_alive()
    released.set()
    assert threads.stop(30)
    ledger.close()
