"""Which workers do not tell of their tasks: of them, no event is no news.

A worker sends heartbeats in any case, and events of tasks only when started with `-E` or
`worker_send_task_events`. A heartbeat says how many tasks the worker has taken up, so one
whose number grows without an event is found out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GONE = 60.0  # seconds without a heartbeat; it comes every 2 s
LIMIT = 1000  # workers


@dataclass(slots=True)
class _Worker:
    processed: int
    seen_at: float
    told: bool = False  # an event of a task came since the last heartbeat
    suspect: bool = False  # the number grew, but the event may be on its way
    silent: bool = False


class Workers:
    """The workers that are heard of. Times are of a clock that only goes on."""

    def __init__(self, spoken: bool) -> None:
        self.spoken = spoken  # whether any worker ever told of a task
        self._workers: dict[str, _Worker] = {}

    def note(self, event: Mapping[str, Any], now: float) -> None:
        """Take account of any event."""
        kind, host, processed = event.get("type"), event.get("hostname"), event.get("processed")
        if not isinstance(kind, str) or not isinstance(host, str):
            return
        if kind == "worker-offline":
            self._workers.pop(host, None)
        elif kind.startswith("task-") and kind != "task-sent":  # which clients send
            self.spoken = True
            if host in self._workers:
                self._workers[host].told = True
        elif kind.startswith("worker-") and isinstance(processed, int):
            self._beat(host, processed, now)

    def silent(self, now: float) -> list[str]:
        """Return the host names of those that work and do not tell."""
        self._workers = {h: w for h, w in self._workers.items() if now - w.seen_at < GONE}
        return [host for host, worker in self._workers.items() if worker.silent]

    def _beat(self, host: str, processed: int, now: float) -> None:
        worker = self._workers.get(host)
        if worker is None:
            if len(self._workers) < LIMIT:
                self._workers[host] = _Worker(processed, now)
            return
        grown = processed > worker.processed
        worker.silent = not worker.told and (worker.silent or worker.suspect)
        worker.suspect = not worker.told and grown
        worker.processed, worker.seen_at, worker.told = processed, now, False
