"""The only thread that asks the archive: it lets jobs ask, one question at a time.

It is polite: one request at a time, at most one a second, and after each a pause at least as
long as the answer took. A job whose requests fail waits longer and longer, and meanwhile the
others go on.
"""

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from busmon.archive.client import Datagrepper, Unanswered
from busmon.clock import steady
from busmon.ledger.clock import may_be
from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.problem_log import ProblemLog

MIN_PAUSE = 1.0  # seconds between two requests
FAILURE_PAUSES = (1.0, 60.0, 300.0, 900.0)  # of a job after so many failures in a row, and more
IDLE_PAUSE = 60.0  # until it looks for new questions, or tries to write again

log = logging.getLogger(__name__)


class Job(Protocol):
    """What asks the archive for something."""

    def step(self, now: float) -> bool:
        """Send at most one request; return whether there was something to do.

        `now` is the Unix time. Raises Unanswered, LedgerError and LedgerWriteError; then the same
        is tried again later.
        """


@dataclass(slots=True)
class _Turn:
    """A job, and whether it rests because its requests fail."""

    job: Job
    failures: int = 0  # in a row
    rests_until: float = 0.0  # by a steady clock


class Worker:
    """Lets the first job that has something to ask do so. Any thread may read its state."""

    def __init__(self, archive: Datagrepper, ledger: Ledger, jobs: Iterable[Job]) -> None:
        self._archive = archive
        self._ledger = ledger
        self._turns = [_Turn(job) for job in jobs]
        self._problem: str | None = "no answer yet"
        self._problems = ProblemLog(log)

    def run(self, stopping: threading.Event) -> None:
        """Let the jobs ask until `stopping`."""
        pause = 0.0
        while not stopping.wait(pause):
            pause = self.step(time.time(), steady())

    def wake(self) -> None:
        """End the request in progress, so that `run` can return; from any thread."""
        self._archive.abort()

    def step(self, now: float, since_start: float) -> float:
        """Let one job do something; return how many seconds to wait before the next step.

        `now` is the Unix time, `since_start` that of a steady clock.
        """
        if not may_be(now, self._ledger.floor):
            return IDLE_PAUSE  # the clock is wrong
        began = time.monotonic()
        for turn in self._turns:
            if turn.rests_until <= since_start and self._take(turn, now, since_start):
                took = time.monotonic() - began
                return max(MIN_PAUSE, took, self._rest(since_start))
        rests = [turn.rests_until - since_start for turn in self._turns]
        return min([IDLE_PAUSE, *(rest for rest in rests if rest > 0)])

    def problem(self) -> str | None:
        """Return why the last request has no answer, or None if it has one."""
        return self._problem

    def _rest(self, since_start: float) -> float:
        """Return for how long every job rests; 0 if one does not."""
        return max(0.0, min(turn.rests_until for turn in self._turns) - since_start)

    def _take(self, turn: _Turn, now: float, since_start: float) -> bool:
        """Let a job do something; return whether it did, or tried to."""
        try:
            if not turn.job.step(now):
                return False
        except Unanswered as error:
            self._problem = str(error)
            pause = FAILURE_PAUSES[min(turn.failures, len(FAILURE_PAUSES) - 1)]
            turn.failures += 1
            turn.rests_until = since_start + pause
            self._problems.problem(f"archive: {self._archive.name}: {error}")
            return True
        except (LedgerError, LedgerWriteError) as error:
            turn.rests_until = since_start + IDLE_PAUSE
            self._problems.problem(f"ledger: cannot write what the archive has: {error}")
            return True
        except Exception as error:  # noqa: BLE001 - a bug here must not end the counting
            turn.rests_until = since_start + FAILURE_PAUSES[-1]
            self._problems.problem("archive: unexpected error", level=logging.ERROR, error=error)
            return True
        turn.failures = 0
        self._problem = None
        self._problems.solved("archive: answers again")
        return True
