"""Reports that wait until busmon accepts them: bounded, the oldest are lost."""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

MAX_REPORTS = 10_000  # that wait while busmon does not answer; some 4 MB
BATCH = 200  # reports; with the longest ids and topics still less than busmon accepts


class CallReport(NamedTuple):
    """What one call of the listener's callback did with its message."""

    id: str | None
    topic: str
    state: str  # passed, dropped or raised
    task: str | None  # the id of the first task that was published for it


@dataclass(frozen=True, slots=True)
class OutgoingReports:
    """A batch: all reports from `since` to `until`; monotonic times."""

    seq: int
    reports: list[CallReport]
    since: float
    until: float
    lost: int  # reports that were lost before `since`
    last: bool = False  # the last batch of this process


class Buffer:
    """The latest reports, at most `size`: the oldest are lost. Thread-safe; never waits long."""

    def __init__(self, size: int = MAX_REPORTS) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._reports: deque[tuple[float, CallReport]] = deque()
        self._since = time.monotonic()
        self._lost = 0
        self._seq = 0
        self.filled = threading.Event()  # a whole batch is waiting

    def add(self, report: CallReport) -> None:
        """Add a report, unless the message has no id: nothing would identify it."""
        if not report.id:
            return
        with self._lock:
            if len(self._reports) >= self._size:
                self._since, _ = self._reports.popleft()
                self._lost += 1
            self._reports.append((time.monotonic(), report))
            if len(self._reports) == BATCH:
                self.filled.set()

    def take(self, *, last: bool = False) -> OutgoingReports:
        """Return the oldest reports, at most a batch, and remove them."""
        with self._lock:
            taken = [self._reports.popleft() for _ in range(min(BATCH, len(self._reports)))]
            if len(self._reports) < BATCH:
                self.filled.clear()
            until = taken[-1][0] if self._reports else time.monotonic()
            reports = [report for _, report in taken]
            last = last and not self._reports
            self._seq += 1
            batch = OutgoingReports(self._seq, reports, self._since, until, self._lost, last)
            self._since, self._lost = until, 0
        return batch

    def add_lost(self, batch: OutgoingReports) -> None:
        """Count the reports of a batch that could not be delivered as lost."""
        with self._lock:
            self._lost += batch.lost + len(batch.reports)

    def __len__(self) -> int:
        return len(self._reports)
