"""What every source has: the state of its connection, and the loop that keeps it connected."""

import threading
import time
from collections.abc import Callable

import pytest

from busmon.ledger.errors import LedgerWriteError
from busmon.sources.base import (
    Cause,
    ConnectionState,
    Disconnected,
    keep_connected,
)
from busmon.tls import UnusableFile


def test_a_connection_is_down_until_it_is_up() -> None:
    connection = ConnectionState()
    assert (connection.connected, connection.problem()) == (False, "not connected yet")
    connection.up()
    assert (connection.connected, connection.problem(), connection.connects) == (True, None, 1)


def test_a_lost_connection_is_disconnected_and_one_never_made_failed() -> None:
    connection = ConnectionState()
    connection.down(Cause.LOGIN, "check the password")
    connection.up()
    connection.down(Cause.SILENT, "nothing for 30 s")
    connection.down(Cause.NETWORK, "refused")
    assert connection.problem() == "network: refused"
    assert +connection.failures == {Cause.LOGIN: 1, Cause.NETWORK: 1}
    assert +connection.disconnects == {Cause.SILENT: 1}


def test_every_cause_is_there_at_zero() -> None:
    connection = ConnectionState()
    assert set(connection.failures) == set(connection.disconnects) == set(Cause)


def test_a_stopped_connection_is_never_connected_nor_disconnected() -> None:
    connection = ConnectionState()
    connection.up()
    connection.stopped()
    assert (connection.connected, connection.problem()) == (False, "stopped")
    assert connection.failures.total() + connection.disconnects.total() == 0


class Waits(threading.Event):
    """An event that takes no time to wait for, and is set once that was done `times` times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self._times = times

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout or 0)
        if len(self.pauses) == self._times:
            self.set()
        return self.is_set()


def connection_with(stopping: threading.Event) -> ConnectionState:
    state = ConnectionState()
    state.stopping = stopping
    return state


def failing(error: Exception) -> Callable[[], None]:
    def session() -> None:
        raise error

    return session


def test_pauses_double_from_half_a_second_to_thirty_with_jitter() -> None:
    stopping = Waits(300)
    connection = connection_with(stopping)
    keep_connected("fedora", connection, failing(Disconnected(Cause.NETWORK, "refused")))
    longest = [min(0.5 * 2**n, 30) for n in range(300)]
    assert all(most / 2 <= p <= most for p, most in zip(stopping.pauses, longest, strict=True))
    steady = stopping.pauses[6:]
    assert min(steady) < 18
    assert max(steady) > 27


@pytest.mark.parametrize(
    ("error", "cause", "problem"),
    [
        (Disconnected(Cause.DENIED, "check the ACL"), Cause.DENIED, "denied: check the ACL"),
        (UnusableFile("ca", "a: is none"), Cause.TLS, "tls: check ca: a: is none"),
        (
            LedgerWriteError("database or disk is full"),
            Cause.LEDGER,
            "ledger: database or disk is full",
        ),
        (OSError(5, "odd"), Cause.ERROR, "error: OSError, a bug; the log has the traceback"),
        (KeyError("bug"), Cause.ERROR, "error: KeyError, a bug; the log has the traceback"),
        (RecursionError(), Cause.ERROR, "error: RecursionError, a bug; the log has the traceback"),
    ],
)
def test_whatever_a_session_raises_is_reported_until_the_next_works(
    caplog: pytest.LogCaptureFixture, error: Exception, cause: Cause, problem: str
) -> None:
    stopping = Waits(2)
    connection = connection_with(stopping)
    problems = []

    def session() -> None:
        problems.append(connection.problem())
        connection.up()
        if len(problems) == 2:
            stopping.set()
            return
        raise error

    keep_connected("fedora", connection, session)
    assert problems == ["not connected yet", problem]
    assert (connection.connects, +connection.disconnects) == (2, {cause: 1})
    assert f"fedora: {problem}; trying again and again" in caplog.text
    assert ("Traceback" in caplog.text) == (cause is Cause.ERROR)


def test_a_bug_that_ends_each_session_is_shown_once(caplog: pytest.LogCaptureFixture) -> None:
    stopping = Waits(5)
    connection = connection_with(stopping)

    def session() -> None:
        connection.up()
        raise KeyError("bug")

    keep_connected("fedora", connection, session)
    levels = [record.levelname for record in caplog.records]
    assert (levels.count("ERROR"), levels.count("WARNING")) == (1, 5)


def test_only_a_session_that_received_restarts_the_backoff() -> None:
    stopping = Waits(4)
    connection = connection_with(stopping)

    def session() -> None:
        if len(stopping.pauses) == 2:
            connection.up()
        if len(stopping.pauses) in (2, 3):
            time.sleep(2.1)  # longer than the pause of 2 s that would come next
        raise Disconnected(Cause.NETWORK, "closed")

    keep_connected("fedora", connection, session)
    assert [pause <= 0.5 for pause in stopping.pauses] == [True, False, True, False]


def test_a_session_that_fails_while_stopping_is_the_last(caplog: pytest.LogCaptureFixture) -> None:
    stopping = Waits(1)
    connection = connection_with(stopping)

    def session() -> None:
        stopping.set()
        raise Disconnected(Cause.NETWORK, "closed")

    keep_connected("fedora", connection, session)
    assert (stopping.pauses, connection.problem()) == ([], "stopped")
    assert not caplog.get_records("call")


def test_no_session_starts_once_stopping() -> None:
    connection = ConnectionState()
    connection.stopping.set()
    keep_connected("fedora", connection, failing(AssertionError("begun")))
    assert connection.problem() == "stopped"


class LongWaits(threading.Event):
    """An event for which one waits an hour, whatever time was given."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - threading.Event's
        self.begun.set()
        return super().wait(3600)


def test_stopping_ends_a_pause_at_once() -> None:
    stopping = LongWaits()
    connection = connection_with(stopping)
    session = failing(Disconnected(Cause.NETWORK, "refused"))
    thread = threading.Thread(target=keep_connected, args=("fedora", connection, session))
    thread.start()
    assert stopping.begun.wait(60)
    stopping.set()
    thread.join(60)
    assert (thread.is_alive(), connection.problem()) == (False, "stopped")
