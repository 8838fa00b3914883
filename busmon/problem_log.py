"""The log of what is wrong with one thing, without the same line again and again."""

import logging
import threading
import time
from collections.abc import Callable

REPEAT_SECONDS = 3600.0  # until the same problem is logged again
MAX_PROBLEMS = 20  # in that time, for problems whose text changes with each attempt


class ProblemLog:
    """Logs a new problem at once, and the same one again after an hour. Thread-safe.

    What is logged more often has the level debug.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._logged: dict[object, float] = {}  # when each problem was logged, in order

    def problem(
        self,
        text: str,
        *values: object,
        level: int = logging.WARNING,
        error: Exception | None = None,
    ) -> None:
        """Log a problem: `text % values`, with the traceback of an `error`."""
        due = level if self._is_due((text, str(values), repr(error))) else logging.DEBUG
        self._log.log(due, text, *values, exc_info=error, stacklevel=2)  # its place: the caller's

    def solved(self, text: str = "") -> None:
        """Log that the problem is over, if there was one. If it comes back, it is new."""
        with self._lock:
            logged, self._logged = self._logged, {}
        if logged and text:
            self._log.info("%s", text)

    def _is_due(self, problem: object) -> bool:
        now = self._clock()
        with self._lock:
            self._logged = {
                known: at for known, at in self._logged.items() if now - at < REPEAT_SECONDS
            }
            if problem in self._logged or len(self._logged) >= MAX_PROBLEMS:
                return False
            self._logged[problem] = now
            return True
