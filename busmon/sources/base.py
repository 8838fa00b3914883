"""Sources: one client library each, one file each.

A source lets each message be judged as it comes, and keeps what is to be recorded of it,
not its body. What it has so far is a batch, which it acknowledges only after `record` has
returned, that is when all of it is on disk. So a crash at any instant loses nothing and,
since the ledger knows the ids, counts nothing twice. Where `record` raises, nothing is
acknowledged: the source drops its connection and takes the batch again from the broker.
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

log = logging.getLogger(__name__)


class Cause(StrEnum):
    """Why a source is not receiving: a fixed set, the `reason` label of its metrics."""

    NETWORK = "network"  # refused, reset, unknown host, closed by the broker
    SILENT = "silent"  # no byte within the heartbeat or the time-out
    LOGIN = "login"  # user, password or client certificate not accepted
    TLS = "tls"  # the handshake failed
    DENIED = "denied"  # logged in, but may not declare, bind or subscribe
    CANCELLED = "cancelled"  # the broker ended the subscription: queue deleted, consumer cancelled
    LEDGER = "ledger"  # the batch could not be recorded, so it was not acknowledged
    ERROR = "error"  # anything else: a bug, the log has the traceback


class Disconnected(Exception):
    """The source lost its connection or never had it; `detail` says what to check."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


class ConnectionState:
    """The state of one bus's connection: written by its source, read by /metrics and /ready."""

    def __init__(self) -> None:
        self.connects = 0
        # Every cause from the start: another thread may read them while one is counted.
        self.disconnects = Counter(dict.fromkeys(Cause, 0))
        self.failures = Counter(dict.fromkeys(Cause, 0))  # connections that never came to be
        self._problem: str | None = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether the source is connected and subscribed."""
        return self._problem is None

    def problem(self) -> str | None:
        """Return why the source is not receiving, or None where it is."""
        return self._problem

    def up(self) -> None:
        """Note that the source is connected and subscribed."""
        self.connects += 1
        self._problem = None

    def down(self, cause: Cause, detail: str) -> None:
        """Note that the connection was lost or could not be made."""
        (self.disconnects if self.connected else self.failures)[cause] += 1
        self._problem = f"{cause}: {detail}"

    def stopped(self) -> None:
        """Note that the source has come to its end by request, or has no more to read."""
        self._problem = "stopped"


class MessageHandler(Protocol):
    """Judges the messages of a source and records them; it is the monitor."""

    def judge(self, message: Message) -> Observation:
        """Return what is to be recorded of a message."""

    def record(self, batch: Sequence[Observation]) -> None:
        """Put a batch on disk; raises LedgerWriteError where it is not."""


class Source(Protocol):
    """One bus: receives its messages until stopped, whatever its broker does."""

    name: str
    connection: ConnectionState

    @property
    def rejections(self) -> Iterable[Judgement]:
        """What it can itself say of a message that no rule is to judge."""

    def run(self, handler: MessageHandler) -> None:
        """Receive until stopped; blocks, and raises nothing that a broker can cause."""

    def stop(self) -> None:
        """Ask `run` to acknowledge the batch in hand and return; any thread may call it."""


def keep_connected(
    name: str, connection: ConnectionState, stopping: threading.Event, session: Callable[[], None]
) -> None:
    """Run `session` again and again until `stopping`, with backoff and jitter between.

    `session` connects, calls `connection.up()`, receives, and returns only when stopping; it
    raises Disconnected, or LedgerWriteError out of `record`, when it can't go on. A session
    that was up, and held for longer than it would now wait, starts the backoff anew.
    """
    backoff = Backoff()
    while not stopping.is_set():
        started, connects = time.monotonic(), connection.connects
        try:
            session()
        except Disconnected as error:
            connection.down(error.cause, error.detail)
        except LedgerWriteError as error:
            connection.down(Cause.LEDGER, str(error))
        except Exception as error:  # one bus's bug must not end the others
            connection.down(Cause.ERROR, repr(error))
            log.exception("%s: unexpected error", name)
        if stopping.is_set():
            break
        if connection.connects > connects and time.monotonic() - started > backoff.delay:
            backoff.reset()
        pause = backoff.next_pause()
        log.warning("%s: %s; trying again in %.1f s", name, connection.problem(), pause)
        stopping.wait(pause)
    connection.stopped()
