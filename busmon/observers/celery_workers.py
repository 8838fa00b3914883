"""Which workers send no events of tasks: if such a worker exists, no event means nothing.

Every worker sends heartbeats. It sends events of tasks only if it was started with `-E` or
`worker_send_task_events`. A heartbeat says how many tasks the worker has processed. If this
number grows without an event, the worker sends none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GONE_SECONDS = 60.0  # without a heartbeat; it comes every 2 s
MAX_WORKERS = 1000
MAX_NAME_LENGTH = 255  # of a worker: a publisher may send any


@dataclass(slots=True)
class _Worker:
    processed: int
    seen_at: float
    sent_event: bool = False  # of a task, since the last heartbeat
    suspect: bool = False  # the number grew, but the event may still be on its way
    silent: bool = False


class Workers:
    """The workers that have sent something. Times are monotonic."""

    def __init__(self, any_events: bool) -> None:
        self.any_events = any_events  # whether any worker has ever sent an event of a task
        self.heard = False  # whether any worker has sent anything since the start
        self._workers: dict[str, _Worker] = {}

    def add(self, event: Mapping[str, Any], now: float) -> None:
        """Add an event of any kind."""
        kind, host, processed = event.get("type"), event.get("hostname"), event.get("processed")
        if not (isinstance(kind, str) and isinstance(host, str) and len(host) <= MAX_NAME_LENGTH):
            return
        self.heard = self.heard or kind != "task-sent"  # which clients send
        if kind == "worker-offline":
            self._workers.pop(host, None)
        elif kind.startswith("task-") and kind != "task-sent":
            self.any_events = True
            if host in self._workers:
                self._workers[host].sent_event = True
        elif kind.startswith("worker-") and isinstance(processed, int):
            self._add_heartbeat(host, processed, now)

    def silent(self, now: float) -> list[str]:
        """Return the host names of the workers that send no events of tasks."""
        self._workers = {h: w for h, w in self._workers.items() if now - w.seen_at < GONE_SECONDS}
        return [host for host, worker in self._workers.items() if worker.silent]

    def _add_heartbeat(self, host: str, processed: int, now: float) -> None:
        worker = self._workers.get(host)
        if worker is None:
            if len(self._workers) < MAX_WORKERS:
                self._workers[host] = _Worker(processed, now)
            return
        grown = processed > worker.processed
        worker.silent = not worker.sent_event and (worker.silent or worker.suspect)
        worker.suspect = not worker.sent_event and grown
        worker.processed, worker.seen_at, worker.sent_event = processed, now, False
