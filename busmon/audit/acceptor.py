"""Accepts gaps, and reopens them, as people ask for it."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from busmon.ledger.acceptances import Acceptance, Key, Matching, Selection, describe
from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.problem_log import ProblemLog
from busmon.text import format_time

ROWS_AT_ONCE = 250  # of a transaction, which holds up counting for about 10 ms of CPU time
YIELD_SECONDS = 0.02  # between two of them
WAIT_SECONDS = 6.0  # for the result; what takes longer goes on
RETRY_SECONDS = 5.0  # after a failure

log = logging.getLogger(__name__)


class CannotReopen(Exception):
    """There is nothing to reopen; the text says why."""


@dataclass(slots=True)
class Result:
    """What an acceptance, or its reversal, has done."""

    number: int  # of the acceptance
    messages: int = 0  # that were missing
    unconfirmed: int = 0  # other messages, of which it was not known whether they are missing
    windows: int = 0
    forgotten: int = 0  # missing messages that cannot be reopened: they are no longer on record
    finished: bool = False  # False: the rest follows


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Somebody who waits for a result."""

    result: Result
    done: threading.Event = field(default_factory=threading.Event)


class Acceptor:
    """Accepts and reopens in its thread; any thread may ask for it.

    A selection can have very many messages. So what is asked for is written first; then the
    thread does it part by part, over restarts and failures. `changed` is called when it is done.
    """

    def __init__(
        self,
        ledger: Ledger,
        changed: Callable[[], None],
        clock: Callable[[], float] = time.time,
        wait: float = WAIT_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._changed = changed
        self._clock = clock
        self._wait = wait
        self._problems = ProblemLog(log)
        self._work_to_do = threading.Event()
        self._waiting: dict[int, _Waiting] = {}  # by the number of the acceptance

    def accept(self, selection: Selection, who: str, reason: str) -> Result | None:
        """Accept the open messages of a selection; None if there are none.

        Raises LedgerWriteError and LedgerError, and then nothing is accepted.
        """
        with self._ledger.read() as tables:
            # The thread may go on after a restart. What is closed from now on is not accepted.
            closed_until = tables.windows.closed_until() or selection.until
            selection = selection._replace(until=min(selection.until, closed_until))
            windows = tables.acceptances.windows(selection)
        if not windows:
            return None
        with self._ledger.write() as tables:
            number = tables.acceptances.add(selection, windows, who, reason, self._clock())
            waiting = self._waiting[number] = _Waiting(Result(number))
        log.info(
            "gaps accepted by %s: acceptance %d, %s; reason: %s",
            who,
            number,
            describe(selection),
            reason,
        )
        return self._result(waiting)

    def reopen(self, number: int, who: str) -> Result:
        """Give the messages of an acceptance the state that they had before.

        Raises CannotReopen; and LedgerWriteError, and then nothing is reopened.
        """
        with self._ledger.write() as tables:
            found = tables.acceptances.find(number)
            if problem := _not_reopened(number, found):
                raise CannotReopen(problem)
            tables.acceptances.revert(number, who, self._clock())
            waiting = self._waiting[number] = _Waiting(Result(number))
        log.info("gaps reopened by %s: acceptance %d", who, number)
        return self._result(waiting)

    def run(self, stopping: threading.Event) -> None:
        """Do what is asked for, and what an earlier process left, until `stopping`."""
        while not stopping.is_set():
            self._work_to_do.clear()
            retry = None
            try:
                while not stopping.is_set() and self._finish_one(stopping):
                    pass
                self._problems.solved("gaps: they are accepted and reopened again")
            except (LedgerError, LedgerWriteError) as error:
                self._problems.problem(f"gaps: they cannot be accepted or reopened: {error}")
                retry = RETRY_SECONDS
            if not stopping.is_set():
                self._work_to_do.wait(retry)

    def wake(self) -> None:
        """Let `run` see that it is to stop, or that there is something to do."""
        self._work_to_do.set()

    def _result(self, waiting: _Waiting) -> Result:
        self.wake()
        waiting.done.wait(self._wait)
        return waiting.result

    def _finish_one(self, stopping: threading.Event) -> bool:
        """Do what one acceptance still needs; return whether there may be another one."""
        with self._ledger.read() as tables:
            pending = tables.acceptances.pending()
        if pending is None:
            return False
        waiting = self._waiting.get(pending.number) or _Waiting(Result(pending.number))
        done = self._reopen if pending.reverted_at else self._accept
        if not done(pending, waiting.result, stopping):
            return False
        try:
            self._changed()
        finally:
            waiting.result.finished = True
            self._waiting.pop(pending.number, None)
            waiting.done.set()
        return True

    def _accept(self, pending: Acceptance, result: Result, stopping: threading.Event) -> bool:
        """Accept what is open of a selection; return False if it is to stop before the end."""
        last: Key | None = None
        while found := self._matching(pending.selection, last):
            with self._ledger.write() as tables:
                tables.acceptances.accept(pending.number, found, pending.accepted_at)
            last = found[-1].key
            if stopping.wait(YIELD_SECONDS):
                return False
        with self._ledger.write() as tables:
            tables.acceptances.finish(pending.number)
            done = tables.acceptances.find(pending.number) or pending
        result.messages, result.unconfirmed = done.messages, done.unconfirmed
        result.windows = done.windows
        return True

    def _matching(self, selection: Selection, after: Key | None) -> list[Matching]:
        with self._ledger.read() as tables:
            return tables.acceptances.matching(selection, after, ROWS_AT_ONCE)

    def _reopen(self, pending: Acceptance, result: Result, stopping: threading.Event) -> bool:
        """Reopen what was accepted; return False if it is to stop before the end."""
        if not result.windows:  # else a failure interrupted this, and they are counted already
            with self._ledger.read() as tables:
                counts = tables.acceptances.count(pending.number)
            result.messages, result.unconfirmed, result.windows = counts
        while self._reopen_some(pending.number):
            if stopping.wait(YIELD_SECONDS):
                return False
        with self._ledger.write() as tables:
            tables.acceptances.finish(pending.number)
        result.forgotten = pending.messages - result.messages
        return True

    def _reopen_some(self, number: int) -> int:
        with self._ledger.write() as tables:
            return tables.acceptances.reopen(number, ROWS_AT_ONCE)


def _not_reopened(number: int, found: Acceptance | None) -> str | None:
    """Return why an acceptance cannot be reopened, or None if it can."""
    if found is None:
        return f"there is no acceptance {number}"
    if found.reverted_at is not None:
        at = format_time(found.reverted_at)
        return f"acceptance {number} was reopened by {found.reverted_by} at {at}"
    if found.pending:
        return f"acceptance {number} is not complete yet; try again later"
    return None
