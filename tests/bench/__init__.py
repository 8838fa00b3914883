"""Benchmarks: `make bench` runs them on real brokers and reports. No test checks a speed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run a benchmark. `directory` is for its files, and empty at its start."""

    directory: Path
    scale: float = 1.0
    rounds: int = 3
    say: Callable[[str], None] = print

    def size(self, full: int) -> int:
        """Return the number to use instead of `full` messages or rows."""
        return max(1, round(full * self.scale))
