"""The thread that counts how long messages took, and which service levels they met."""

import logging
import threading
import time

from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.levels.delays import DelayCounter
from busmon.problem_log import ProblemLog

TICK_SECONDS = 15.0  # between two rounds of work

log = logging.getLogger(__name__)


class LevelsWatcher:
    """Works in its thread; any thread may collect."""

    def __init__(self, ledger: Ledger, delays: DelayCounter) -> None:
        self._ledger = ledger
        self._delays = delays
        self._problems = ProblemLog(log)

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping`. Log a failure, and try again."""
        while not stopping.wait(TICK_SECONDS):
            try:
                self._delays.count(self._ledger, time.time())
                self._problems.solved("levels: delays are counted again")
            except (LedgerError, LedgerWriteError) as error:
                self._problems.problem(f"levels: delays cannot be counted: {error}")
