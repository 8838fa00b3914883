"""Whether an observer sees, and why not."""

import logging
import time

log = logging.getLogger(__name__)


class ObserverHealth:
    """Written by the observer's thread, read by /metrics; told in the log once a change."""

    def __init__(self, observer: str) -> None:
        self._observer = observer
        self._problem: str | None = "has not looked yet"
        self._told: bool | None = None  # what the log said last
        self._until = 0.0

    def clear(self, seconds: float) -> None:
        """Note that the observer sees, and will say so again within `seconds`."""
        self._until = time.monotonic() + seconds
        self._problem = None
        if self._told is False:
            log.info("%s: sees again", self._observer)
        self._told = True

    def blind(self, problem: str) -> None:
        """Note why the observer does not see."""
        self._problem = problem
        if self._told is not False:
            log.warning("%s: %s", self._observer, problem)
        self._told = False

    def problem(self) -> str | None:
        """Return why the observer does not see, or None where it does."""
        if self._problem is None and time.monotonic() > self._until:
            return "hangs or has ended"
        return self._problem
