"""Recent values with their times, in memory."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class History(Generic[T]):
    """The values of the last `seconds`, and the value that held when these began."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._values: deque[tuple[float, T]] = deque()

    def add(self, now: float, value: T) -> None:
        """Add a value that holds from now on. If the clock was set back, forget the others."""
        if self._values and now < self._values[-1][0]:
            self._values.clear()
        if not self._values or self._values[-1][1] != value:
            self._values.append((now, value))
        while len(self._values) > 1 and self._values[1][0] <= now - self._seconds:
            self._values.popleft()

    def at(self, time: float) -> T | None:
        """Return the value that held at this time, or None if it is not known."""
        return next((value for since, value in reversed(self._values) if since <= time), None)

    def oldest(self) -> T | None:
        """Return the value that held `seconds` ago, or the first one if all are newer."""
        return self._values[0][1] if self._values else None

    def between(self, start: float, end: float) -> list[T] | None:
        """Return all values that held in this time, or None if not all are known."""
        first = self.at(start)
        if first is None:
            return None
        return [first, *(value for since, value in self._values if start < since <= end)]
