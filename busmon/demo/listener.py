"""A made-up listener with a tap, and made-up workers behind it."""

import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from random import Random
from uuid import UUID

from busmon.ledger.coverage import observer_id
from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.ledger.messages import MessageTrace
from busmon.ledger.tables import Tables
from busmon.ledger.tap_reports import TapReport
from busmon.ledger.tasks import Origin
from busmon.observers.tap import TapObserver
from busmon.observers.tap_batch import parse

ROOT = "task.steve_jobs.process_message"
HANDLERS = {  # by a part of the topic
    "copr.build.start": "task.run_copr_build_start_handler",
    "copr.build.end": "task.run_copr_build_end_handler",
    "buildsys.task": "task.run_koji_scratch_build_report_handler",
    "buildsys.": "task.run_koji_build_report_handler",
    "pull-request": "task.run_distgit_pull_request_handler",
    "": "task.run_sync_from_downstream_handler",
}
STEP_SECONDS = 1.0
MAX_REPORTS = 1000  # of a batch; with more, the demo leaves gaps

log = logging.getLogger(__name__)


class Work:
    """Passes messages on, and lets workers do what is to be done."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def reports(self, traces: Iterable[MessageTrace], at: float | None = None) -> list[TapReport]:
        """Return what the tap reports of these messages, passed on `at` that Unix time.

        Without one they were passed on at once.
        """
        return [
            TapReport(trace.id, trace.topic, "passed", self._identity(), at or self._soon(trace))
            for trace in traces
        ]

    def finish(
        self, tables: Tables, report: TapReport, *, until: float, succeeds: bool = True
    ) -> None:
        """Write what the workers did with a message; at `until`, a Unix time, all is done."""
        tasks, root, passed = tables.tasks, report.task or "", report.at or until
        started = passed + self._rng.uniform(0.05, 0.9)
        finished = started + self._rng.uniform(0.1, 0.6)
        done = finished + self._rng.lognormvariate(1.5, 0.8)
        handler, name = self._identity(), handler_of(report.topic)
        origin = Origin(root)
        for task, state, at in (
            (root, "received", started),
            (root, "started", started),
            (handler, "received", finished),
            (root, "succeeded", finished),
            (handler, "started", finished + 0.1),
            (handler, "succeeded" if succeeds else "failed", done),
        ):
            if state == "received":
                of = (ROOT, min(at, until)) if task == root else (name, min(at, until), origin)
                tasks.receive(task, *of)
            else:
                tasks.change(task, state, min(at, until))

    def _soon(self, trace: MessageTrace) -> float:
        return (trace.received_at or 0.0) + self._rng.uniform(0.02, 0.4)

    def _identity(self) -> str:
        return str(UUID(bytes=self._rng.randbytes(16), version=4))


def handler_of(topic: str) -> str:
    """Return the name of the task that handles the messages of a topic."""
    return next(name for part, name in HANDLERS.items() if part in topic)


class MadeUpObserver:
    """What an observer has that always receives data, and counts nothing: see Observer."""

    def up(self) -> bool:
        """See Observer."""
        return True

    def problem(self) -> str | None:
        """See Observer."""
        return None

    def collect(self) -> tuple[()]:
        """See Observer."""
        return ()


class MadeUpListener(MadeUpObserver):
    """Does with each message of a bus what the rules expect; it stands for Celery's observer."""

    kind = "celery"

    def __init__(self, ledger: Ledger, tap: TapObserver, since: float) -> None:
        self.bus = tap.bus
        self._ledger = ledger
        self._tap = tap
        self._since = since  # Unix time; all before it is done
        with ledger.read() as tables:
            self._last = tables.messages.last()
        self._batches = 1  # the next one continues it
        self._work = Work(Random())  # noqa: S311 - a demonstration, not a secret

    def run(self, stopping: threading.Event) -> None:
        """Pass on what comes until `stopping`."""
        while not stopping.wait(STEP_SECONDS):
            try:
                self._step(time.time())
            except (LedgerError, LedgerWriteError):
                log.debug("the made-up listener waits", exc_info=True)

    def _step(self, now: float) -> None:
        with self._ledger.read() as tables:
            last = tables.messages.last()
            traces = [one for one in tables.messages.recorded(self.bus, self._last) if one.handled]
        reports = self._work.reports(traces)
        self._batches += 1
        batch = {
            "tap": "made-up",
            "seq": self._batches,
            "bus": self.bus,
            "since": max(0.0, now - self._since),
            "until": 0,
            "lost": 0,
            "reports": [_as_json(report, now) for report in reports[:MAX_REPORTS]],
        }
        self._tap.take(parse(json.dumps(batch).encode()), now)
        with self._ledger.write() as tables:
            for report in reports:
                self._work.finish(tables, report, until=now)
            tables.coverage.extend(observer_id(self.kind, self.bus), now)
        self._since, self._last = now, last


def _as_json(report: TapReport, now: float) -> Mapping[str, object]:
    """Return a report as the tap sends it."""
    age = max(0.0, now - (report.at or now))
    known = {"id": report.id, "topic": report.topic, "state": report.state, "task": report.task}
    return {**known, "at": age}
