"""Deletes what is too old, or too much, from time to time, and watches the clock of the host."""

import logging
import threading
import time
from collections.abc import Callable, Collection

from busmon.clock import steady
from busmon.ledger.clock import Floor, may_be
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.pipeline import Pipeline
from busmon.problem_log import ProblemLog
from busmon.text import format_time

PRUNE_INTERVAL = 60.0  # seconds
YIELD_SECONDS = 0.02  # seconds between two steps, so that recording is not held up

log = logging.getLogger(__name__)


def prune_regularly(
    ledger: Ledger,
    pipeline: Pipeline,
    retention: float,
    watched: Callable[[], Collection[tuple[str, str]] | None],
    stopping: threading.Event,
) -> None:
    """Delete what is too old, or too much, from time to time until `stopping`.

    `watched` returns the topics whose silence is watched; None while that is not known.
    """
    problems, clock_problems = ProblemLog(log), ProblemLog(log)
    started = steady()
    floor = Floor(ledger.floor, started) if ledger.floor else Floor(time.time(), started, started)
    while not stopping.wait(PRUNE_INTERVAL):
        now = time.time()
        floor = floor.after(now, steady())
        try:
            ledger.set_floor(floor.at)
            _report_clock(clock_problems, now, floor.at)
            while may_be(now, floor.at) and ledger.cut(now) and not stopping.wait(YIELD_SECONDS):
                pass
            while ledger.prune(floor.at, retention) and not stopping.wait(YIELD_SECONDS):
                pass
            ledger.empty_log()
            if (topics := watched()) is not None:
                pipeline.release_topics(topics)
            problems.solved()
        except LedgerWriteError as error:
            problems.problem(f"ledger: cannot be pruned: {error}")


def _report_clock(problems: ProblemLog, now: float, floor: float) -> None:
    if may_be(now, floor):
        problems.solved("the clock of the host may be right again")
    else:
        reached = format_time(floor)
        text = (
            "the clock of the host is wrong: by the ledger, it has already been %s;"
            " until then no window is closed, and nothing is learned of silence"
        )
        problems.problem(text, reached)
