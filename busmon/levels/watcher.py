"""The thread that counts how long messages took, and which service levels they met."""

import logging
import threading
import time
from collections.abc import Iterator
from functools import partial

from prometheus_client.core import Metric

from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.levels.delays import DelayCounter
from busmon.levels.service_levels import ServiceLevelCounter
from busmon.problem_log import ProblemLog

TICK_SECONDS = 15.0  # between two rounds of work
YIELD_SECONDS = 0.02  # between two steps of a round, so that counting goes on

log = logging.getLogger(__name__)


class LevelsWatcher:
    """Works in its thread; any thread may collect."""

    def __init__(
        self, ledger: Ledger, delays: DelayCounter, service_levels: ServiceLevelCounter
    ) -> None:
        self._ledger = ledger
        self._delays = delays
        self._service_levels = service_levels
        self._problems = ProblemLog(log)

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping`. Log a failure, and try again."""
        pause = partial(stopping.wait, YIELD_SECONDS)  # returns whether to stop
        while not stopping.wait(TICK_SECONDS):
            try:
                self._delays.count(self._ledger, time.time())
                self._service_levels.count(time.time(), pause)
                self._problems.solved("levels: delays and service levels are counted again")
            except (LedgerError, LedgerWriteError) as error:
                self._problems.problem("levels: nothing can be counted: %s", error)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the service levels, from memory."""
        yield from self._service_levels.collect()
