"""What a busmon receives that follows another one: the leader is not blind meanwhile.

Its times are the coverage of the observer `replica:BUS`, which all that follow extend. The times
of `forgotten:BUS` are when one of them found that the broker had kept nothing.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from busmon.ledger.coverage import observer_id
from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.ledger.values import Interval
from busmon.problem_log import ProblemLog
from busmon.silence.reception import MAX_TICK_GAP_SECONDS, TURN_SECONDS
from busmon.sources.base import ConnectionState

SIGN_INTERVAL = 2.0  # seconds between two signs that a bus is received
FRESH_SECONDS = 6.0  # after the last sign; then it is no longer received
READ_SECONDS = 1.0  # to wait for the ledger; then nobody knows what others receive

log = logging.getLogger(__name__)


class _Sign(NamedTuple):
    at: float  # Unix time
    connects: int


class FollowersReception:
    """Writes when a follower received from each bus."""

    def __init__(self, ledger: Ledger, connections: Mapping[str, ConnectionState]) -> None:
        self._ledger = ledger
        self._connections = connections
        self._signs: dict[str, _Sign] = {}
        self._forgotten = dict.fromkeys(connections, 0)  # on record
        self._problems = ProblemLog(log)

    def run(self, stopping: threading.Event) -> None:
        """Write it until `stopping`."""
        while not stopping.wait(SIGN_INTERVAL):
            self.tick(time.time())

    def tick(self, now: float) -> None:
        """Write that the connected buses were received since the last tick."""
        spans = {}
        for bus, connection in self._connections.items():
            if not connection.connected or connection.seconds_since_turn() > TURN_SECONDS:
                self._signs.pop(bus, None)
                continue
            last = self._signs.get(bus)
            unbroken = last and last.connects == connection.connects
            since = last.at if last and unbroken else now
            spans[bus] = since if 0 <= now - since <= MAX_TICK_GAP_SECONDS else now
        forgotten = {bus: one.forgotten for bus, one in self._connections.items()}
        try:
            with self._ledger.write() as tables:
                for bus, since in spans.items():
                    tables.coverage.add_span(observer_id("replica", bus), since, now, 0.0)
                    if forgotten[bus] > self._forgotten[bus]:
                        tables.coverage.start(observer_id("forgotten", bus), now)
        except LedgerWriteError as error:
            self._problems.problem(f"ledger: cannot write what is received: {error}")
            return
        self._problems.solved()
        for bus in spans:
            self._signs[bus] = _Sign(now, self._connections[bus].connects)
            self._forgotten[bus] = forgotten[bus]


class Followed(NamedTuple):
    """What followers received of a bus; Unix times."""

    interval: Interval  # without a gap, up to their last sign
    forgotten: float | None  # when one of them last found that the broker had kept nothing


def received_by_followers(
    ledger: Ledger, buses: Iterable[str], now: float
) -> Mapping[str, Followed]:
    """Return what followers receive now, by bus."""
    found: dict[str, Followed] = {}
    if not ledger.shared:
        return found
    try:
        with ledger.read(READ_SECONDS) as tables:
            for bus in buses:
                last = tables.coverage.last(observer_id("replica", bus))
                if last and last.until >= now - FRESH_SECONDS:
                    forgotten = tables.coverage.last_end(observer_id("forgotten", bus))
                    found[bus] = Followed(last, forgotten)
    except LedgerError:  # the next write will fail, too, and says why
        pass
    return found
