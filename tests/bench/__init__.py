"""Benchmarks: `make bench` runs them on real brokers and reports; no test looks at a clock."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is to be run. `directory` is for a benchmark's files, and empty at its start."""

    directory: Path
    scale: float = 1.0
    rounds: int = 3
    say: Callable[[str], None] = print

    def size(self, full: int) -> int:
        """Return how many of `full` messages, rows or whatever to take."""
        return max(1, round(full * self.scale))
