"""Figures of processes, spreads over rounds, and tables of them as Markdown and JSON."""

import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

from tests.support.brokers import Server, wait_until

MIB = 1 << 20
CONSUMER_TIMEOUT = 600.0  # seconds until a consumer that has not finished hangs


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all rounds."""

    median: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of these values."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{_rounded(self.median)} ({_rounded(self.minimum)} to {_rounded(self.maximum)})"


Cell = str | int | float | Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The figures of a benchmark. Notes say what was done, the aim, or what the figures mean."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Return it as Markdown, medians with minimum and maximum."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        table = "\n".join("| " + " | ".join(map(_text, line)) + " |" for line in lines)
        return "\n\n".join([f"### {self.title}", table, "\n".join(f"- {n}" for n in self.notes)])

    def json(self) -> dict[str, Any]:
        """Return it for `json.dumps`."""
        rows = [
            {name: _plain(cell) for name, cell in zip(self.columns, row, strict=True)}
            for row in self.rows
        ]
        return {"title": self.title, "rows": rows, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a consumer: `cpu` in seconds, user and system; `peak` is resident bytes."""

    messages: int
    seconds: float
    cpu: float
    peak: int

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def milliseconds(self) -> float:
        """CPU for 1,000 messages, in ms."""
        return self.cpu / self.messages * 1e6


def interleaved(
    contestants: Mapping[str, Callable[[], Run]], rounds: int, say: Callable[[str], None]
) -> dict[str, list[Run]]:
    """Run all contestants in turn, repeatedly, so that the load of the machine affects all."""
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    for number in range(1, rounds + 1):
        for name, contestant in contestants.items():
            run = contestant()
            runs[name].append(run)
            say(f"  {number}/{rounds} {name}: {run.rate:,.0f}/s, {run.milliseconds:.1f} ms CPU")
    return runs


def compared(
    title: str, runs: Mapping[str, Sequence[Run]], subject: str, notes: Sequence[str]
) -> Table:
    """Tabulate contestants, each beside the subject, round by round."""
    rows: list[list[Cell]] = [
        [
            name,
            its[0].messages,
            Spread.of([run.rate for run in its]),
            Spread.of([run.milliseconds for run in its]),
            Spread.of([run.peak / MIB for run in its]),
            Spread.of([one.rate / run.rate for one, run in zip(runs[subject], its, strict=True)]),
        ]
        for name, its in runs.items()
    ]
    columns = ["consumer", "messages", "messages/s", "CPU ms for 1,000", "peak MiB"]
    return Table(
        title=title, columns=[*columns, f"{subject}'s speed by this one's"], rows=rows, notes=notes
    )


def drain(
    consumers: Sequence[Server],
    fill: Callable[[], object],
    messages: int,
    drained: Callable[[], bool],
    during: AbstractContextManager[object] | None = None,
) -> Run:
    """Time consumers that are subscribed to one empty queue, which `fill` fills.

    They are stopped (SIGSTOP) meanwhile, and continue when all messages are there. So neither
    their start nor the publisher is in the figures. The peak is that of the largest.
    """
    pids = [consumer.pid for consumer in consumers]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    fill()
    with during or nullcontext():
        cpu, start = sum(map(cpu_seconds, pids)), time.perf_counter()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        wait_until(
            lambda: drained() or not all(consumer.running for consumer in consumers),
            CONSUMER_TIMEOUT,
            "the consumers to finish",
        )
        seconds = time.perf_counter() - start
        for consumer in consumers:
            assert consumer.running, consumer.output()[-3000:]
        used = sum(map(cpu_seconds, pids)) - cpu
    peak = max(consumer.peak_memory() for consumer in consumers)
    return Run(messages=messages, seconds=seconds, cpu=used, peak=peak)


@contextmanager
def meanwhile(run: Callable[[threading.Event], None]) -> Iterator[Future[None]]:
    """Let it run in a thread until the event that it is given, which is set at the end.

    Raises what it raised.
    """
    ending = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(run, ending)
        try:
            yield running
        finally:
            ending.set()
    running.result()


def quantile(ordered: Sequence[float], part: float) -> float:
    """Return the value below which this part of the ordered values is; 1 for the greatest."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, user and system, of all its threads."""
    return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3)


def _text(cell: Cell) -> str:
    return _rounded(cell) if isinstance(cell, int | float) else str(cell)


def _rounded(number: float) -> str:
    """Return three significant digits, or all before the point."""
    if isinstance(number, int) or abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def _plain(cell: Cell) -> Any:
    if isinstance(cell, Spread):
        return {"median": cell.median, "minimum": cell.minimum, "maximum": cell.maximum}
    return cell
