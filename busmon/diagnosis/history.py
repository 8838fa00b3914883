"""How something was of late: values with their times, in memory, for a while."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class History(Generic[T]):
    """The values of the last `seconds`, and the one that held when these began."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._values: deque[tuple[float, T]] = deque()

    def add(self, now: float, value: T) -> None:
        """Note a value that holds from now on. A clock that was set back begins anew."""
        if self._values and now < self._values[-1][0]:
            self._values.clear()
        if not self._values or self._values[-1][1] != value:
            self._values.append((now, value))
        while len(self._values) > 1 and self._values[1][0] <= now - self._seconds:
            self._values.popleft()

    def at(self, moment: float) -> T | None:
        """Return what held then, or None where that is not known."""
        return next((value for since, value in reversed(self._values) if since <= moment), None)

    def oldest(self) -> T | None:
        """Return what held `seconds` ago, or the first value where that is not so long ago."""
        return self._values[0][1] if self._values else None

    def between(self, start: float, end: float) -> list[T] | None:
        """Return all values that held then, or None where not all are known."""
        first = self.at(start)
        if first is None:
            return None
        return [first, *(value for since, value in self._values if start < since <= end)]
