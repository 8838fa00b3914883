"""Blindness: when busmon did not receive from a bus, disconnected or not running at all.

There is one rule for both. For each bus the ledger keeps until when busmon is known to
have received (`buses.watched`, written every `STAMP` seconds); whatever lies between that
and the next moment at which it receives was a blind time. So after `kill -9` the time
without busmon is noted at its next connection, and up to `STAMP` seconds too much.
"""

import logging
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from busmon.ledger.hourly import HOURS_KEPT
from busmon.ledger.ledger import Ledger, LedgerWriteError
from busmon.ledger.values import Interval
from busmon.sources.base import ConnectionState

TICK = 1.0  # seconds between looks at the connections
STAMP = 10.0  # seconds between writes
MAX_GAP_SECONDS = 30.0  # seconds without a look: the process was suspended
KEPT = HOURS_KEPT * 3600.0  # seconds that blind times are remembered, as the hours are

log = logging.getLogger(__name__)


class WatchedBus(NamedTuple):
    """What is to be seen of a connection: whether it is up, and the times that it came up."""

    up: bool
    connects: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """One bus: until when busmon is known to have received, and when before that it had not."""

    watched: float
    seconds: float = 0.0  # blind in all, but for the blind time that lasts
    intervals: tuple[Interval, ...] = ()  # oldest first
    receiving: bool = False
    connects: int = 0

    def after(self, now: float, connection: WatchedBus) -> "Coverage":
        """Return what is known after a look at the connection."""
        if not connection.up:
            return replace(self, receiving=False)
        seen = replace(self, watched=now, receiving=True, connects=connection.connects)
        unbroken = self.receiving and self.connects == connection.connects
        if now <= self.watched or (unbroken and now - self.watched <= MAX_GAP_SECONDS):
            return seen  # a clock that was set back tells of no time at all
        interval = Interval(self.watched, now)
        kept = (known for known in self.intervals if known.until > now - KEPT)
        length = interval.until - interval.since
        return replace(seen, seconds=self.seconds + length, intervals=(*kept, interval))

    def blind_seconds(self, now: float) -> float:
        """Return how long it was blind in all."""
        return self.seconds + (0.0 if self.receiving else max(0.0, now - self.watched))

    def blind_between(self, since: float, until: float) -> list[Interval]:
        """Return the blind times that lie in that time or reach into it, the lasting one, too."""
        first = bisect_right(self.intervals, since, key=lambda interval: interval.until)
        found = [known for known in self.intervals[first:] if known.since < until]
        if not self.receiving and max(self.watched, since) < until:
            found.append(Interval(self.watched, until))
        return found


def blind_by_hour(intervals: Iterable[Interval]) -> dict[int, float]:
    """Return the blind seconds of each hour of Unix time that has any."""
    seconds: dict[int, float] = {}
    for since, until in intervals:
        for hour in range(int(since // 3600), int(until // 3600) + 1):
            part = min(until, (hour + 1) * 3600) - max(since, hour * 3600)
            if part > 0:
                seconds[hour] = min(3600.0, seconds.get(hour, 0.0) + part)
    return seconds


class BlindTime:
    """The blind times of all buses, kept in the ledger. Any thread may read."""

    def __init__(
        self, ledger: Ledger, connections: Mapping[str, ConnectionState], now: float
    ) -> None:
        self._ledger = ledger
        self._connections = connections
        self._sights = {bus: self._load(bus, now) for bus in connections}
        self._written = dict(self._sights)  # what the ledger has
        self._problem = False

    def run(self, stopping: threading.Event) -> None:
        """Look at the connections until `stopping`, and note how it was at the end."""
        while not stopping.wait(TICK):
            self.tick(time.time())
        self._write(self._connections)  # not a tick: the connections are being stopped

    def tick(self, now: float) -> None:
        """Look at the connections, and write down what can't wait."""
        due = []
        for bus, connection in self._connections.items():
            before = self._sights[bus]
            sight = before.after(now, WatchedBus(connection.connected, connection.connects))
            self._sights[bus] = sight
            written = self._written[bus]
            news = (sight.receiving, sight.seconds) != (written.receiving, written.seconds)
            if news or sight.watched - written.watched >= STAMP:
                due.append(bus)
        self._write(due)

    def sight(self, bus: str) -> Coverage:
        """Return what is known of a bus just now."""
        return self._sights[bus]

    def seconds(self, now: float) -> dict[str, float]:
        """Return for how long busmon was blind on each bus in all, over restarts."""
        return {bus: sight.blind_seconds(now) for bus, sight in self._sights.items()}

    def _load(self, bus: str, now: float) -> Coverage:
        with self._ledger.write() as tables:
            known = tables.blind_times.load(bus, now, now - KEPT)
        return Coverage(known.watched_until, known.total, known.intervals)

    def _write(self, buses: Iterable[str]) -> None:
        """Bring the ledger up to date; what can't be written now is written later."""
        if not (sights := {bus: self._sights[bus] for bus in buses}):
            return
        try:
            with self._ledger.write() as tables:
                for bus, sight in sights.items():
                    written = self._written[bus].watched
                    new = [known for known in sight.intervals if known.since >= written]
                    tables.blind_times.save(bus, sight.watched, sight.seconds, new)
                    tables.blind_times.prune(bus, sight.watched - KEPT)
        except LedgerWriteError as error:
            if not self._problem:
                log.warning("ledger: can't note when busmon was blind: %s", error)
            self._problem = True
            return
        self._problem = False
        self._written |= sights
