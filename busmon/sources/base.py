"""What all sources have in common: their contract, the state of a connection, reconnecting.

A source has each message judged when it arrives. It keeps what is recorded of the message, and
drops the body. These observations are a batch. The source acknowledges a batch only after
`record` has returned: then all of it is on disk. So a crash at any moment loses nothing. It
counts nothing twice either, because the ledger knows the ids. If `record` raises, nothing is
acknowledged: the source drops its connection and receives the batch again from the broker.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Protocol

from busmon.backoff import Backoff
from busmon.ledger.batch import Observation
from busmon.ledger.errors import LedgerWriteError
from busmon.message import Judgement, Message
from busmon.problem_log import ProblemLog
from busmon.text import format_duration
from busmon.tls import UnusableFile

HUNG_SECONDS = 7.0  # in one thing; everything shows it within 10 s

log = logging.getLogger(__name__)


class Cause(StrEnum):
    """Why a source does not receive: a fixed set, the label `reason` of its metrics."""

    NETWORK = "network"  # refused, reset, unknown host, closed by the broker
    SILENT = "silent"  # no byte within the heartbeat or the time-out
    LOGIN = "login"  # user, password or client certificate not accepted
    TLS = "tls"  # the handshake failed, or a file for TLS cannot be used
    DENIED = "denied"  # logged in, but may not declare, bind or subscribe
    CANCELLED = "cancelled"  # the broker ended the subscription: queue deleted, consumer cancelled
    LEDGER = "ledger"  # the batch could not be recorded, so it was not acknowledged
    HUNG = "hung"  # the thread of the bus does not come back from a message or a batch
    ERROR = "error"  # anything else: a bug, and the log has the traceback


class Disconnected(Exception):
    """The source lost its connection, or could not connect; `detail` says what to check."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


class ProtocolError(Exception):
    """The broker sends what its protocol does not allow."""


class ConnectionState:
    """The state of one bus's connection: written by its source, read by /metrics and /ready.

    While it is connected, a source calls `turned` at every message, and at least once a second.
    If it does not, a message or a batch holds up the bus.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.connects = 0
        self.forgotten = 0  # connections at which the broker had kept nothing for busmon
        # With every cause from the start, since another thread may read while one is counted.
        self.disconnects = Counter(dict.fromkeys(Cause, 0))
        self.failures = Counter(dict.fromkeys(Cause, 0))  # attempts to connect
        self._problem: str | None = "not connected yet"
        self._last_turn: float | None = None  # monotonic; None: there is nothing to do

    @property
    def connected(self) -> bool:
        """Whether the source is connected and subscribed."""
        return self.problem() is None

    def problem(self) -> str | None:
        """Return why the source does not receive, or None if it does."""
        if not self.hung():
            return self._problem
        return (
            f"{Cause.HUNG}: at work on a message or a batch for"
            f" {format_duration(self.seconds_since_turn())};"
            " the log says where: in the rules, or at a disk that hangs?"
        )

    def hung(self) -> bool:
        """Return whether the source's thread does not come back from what it does."""
        return self.seconds_since_turn() > HUNG_SECONDS

    def seconds_since_turn(self) -> float:
        """Return for how long the source's thread has been busy with one thing."""
        last_turn = self._last_turn
        return 0.0 if last_turn is None else time.monotonic() - last_turn

    def turned(self) -> None:
        """Note that the source's thread is at work, and not held up."""
        self._last_turn = time.monotonic()

    def resting(self) -> None:
        """Note that the source has nothing to do for some time."""
        self._last_turn = None

    def up(self, *, forgotten: bool = False) -> None:
        """Note that the source is connected and subscribed.

        `forgotten`: the broker had kept no queue or session, although busmon had one.
        """
        self.connects += 1
        self.forgotten += forgotten
        self._problem = None

    def down(self, cause: Cause, detail: str) -> None:
        """Note that the connection was lost or could not be made."""
        counter = self.failures if self._problem else self.disconnects
        self._problem = f"{cause}: {detail}"
        self.resting()
        counter[cause] += 1  # last, so that whoever sees it grow sees also why

    def stopped(self) -> None:
        """Note that the source ended because it was asked to."""
        self._problem = "stopped"
        self.resting()


class MessageHandler(Protocol):
    """Judges the messages of a source and records them: the pipeline."""

    def judge(self, message: Message) -> Observation:
        """Return what is recorded of a message."""

    def check(self) -> None:
        """Write a trial to disk; raises LedgerWriteError if it is not there."""

    def record(self, batch: Sequence[Observation]) -> None:
        """Write a batch to disk; raises LedgerWriteError, and then nothing is written."""


class Source(Protocol):
    """Receives the messages of one bus until stopped, whatever its broker does."""

    name: str
    connection: ConnectionState
    may_end: bool  # whether `run` may return before it is asked to, as at the end of a file

    @property
    def rejections(self) -> Iterable[Judgement]:
        """What can be wrong with a message so that no rule judges it; see `RuleSet.unreadable`."""

    def run(self, handler: MessageHandler) -> None:
        """Receive until stopped, or to the end. Nothing that a broker does makes it raise."""

    def stop(self) -> None:
        """Ask `run` to acknowledge its current batch and return; any thread may call it."""


def keep_connected(name: str, connection: ConnectionState, session: Callable[[], None]) -> None:
    """Run `session` again and again until stopping, with backoff and jitter between.

    `session` connects, calls `connection.up()` and receives. It returns only when stopping. It
    raises Disconnected if it loses the connection, UnusableFile if it cannot make one, and lets
    LedgerWriteError from `record` pass.
    The delays start anew after a session that was up for longer than the next delay.
    """
    backoff, stopping = Backoff(), connection.stopping
    problems, bugs = ProblemLog(log), ProblemLog(log)
    while not stopping.is_set():
        started, connects = time.monotonic(), connection.connects
        try:
            session()
        except Disconnected as error:
            connection.down(error.cause, error.detail)
        except UnusableFile as error:
            connection.down(Cause.TLS, str(error))
        except LedgerWriteError as error:
            connection.down(Cause.LEDGER, str(error))
        except Exception as error:  # noqa: BLE001 - a bug in one bus must not end the others
            # Without its text, which could have a part of a message: /ready is public.
            bug = f"{type(error).__name__}, a bug; the log has the traceback"
            connection.down(Cause.ERROR, bug)
            bugs.problem("%s: unexpected error", name, level=logging.ERROR, error=error)
        if stopping.is_set():
            break
        if connection.connects > connects:  # so it was lost, which is new
            problems.solved()
            if time.monotonic() - started > backoff.delay:
                backoff.reset()
        problems.problem(f"{name}: {connection.problem()}; trying again and again")
        stopping.wait(backoff.next_pause())
    connection.stopped()
