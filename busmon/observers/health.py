"""Whether an observer receives data, and why not."""

import logging
import time

from busmon.problem_log import ProblemLog

log = logging.getLogger(__name__)


class ObserverHealth:
    """Written by the observer's thread, read by all. Logs each change."""

    def __init__(self, observer: str) -> None:
        self._observer = observer
        self._problem: str | None = "no data yet"
        self._problems = ProblemLog(log)
        self._up_until = 0.0  # monotonic

    def up(self, seconds: float) -> None:
        """Set that the observer receives data. It will say so again within `seconds`.

        It is logged first, so that whoever sees the change finds it in the log.
        """
        self._up_until = time.monotonic() + seconds
        self._problems.solved(f"{self._observer}: receives data again")
        self._problem = None

    def down(self, problem: str) -> None:
        """Set why the observer does not receive data; as with `up`, it is logged first."""
        self._problems.problem(f"{self._observer}: {problem}")
        self._problem = problem

    def problem(self) -> str | None:
        """Return why the observer does not receive data, or None if it does."""
        if self._problem is None and time.monotonic() > self._up_until:
            return "hangs"
        return self._problem
