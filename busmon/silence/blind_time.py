"""Blind times: when busmon did not receive from a bus, disconnected or not running at all.

One rule covers both. For each bus the ledger keeps the time until which busmon is known to
have received, written every `WRITE_INTERVAL` seconds. The time from then until busmon receives
again is a blind time. So after `kill -9` the time without busmon is known at its next
connection, and is at most `WRITE_INTERVAL` seconds too long.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence

from busmon.clock import steady
from busmon.ledger.batch import last_received
from busmon.ledger.clock import may_be
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.problem_log import ProblemLog
from busmon.silence.reception import (
    BLIND_TIMES_KEPT_SECONDS,
    Reception,
    WatchedBus,
)
from busmon.silence.shared import Followed, received_by_followers
from busmon.sources.base import ConnectionState
from busmon.text import format_span

TICK_INTERVAL = 1.0  # seconds
WRITE_INTERVAL = 10.0  # seconds
HISTORY_LINES = 10

log = logging.getLogger(__name__)


class BlindTime:
    """The blind times of all buses, kept in the ledger. Any thread may read."""

    def __init__(
        self, ledger: Ledger, connections: Mapping[str, ConnectionState], now: float
    ) -> None:
        self._ledger = ledger
        self._connections = connections
        self._receptions = {bus: self._load(bus, now) for bus in connections}
        self._written = dict(self._receptions)  # what the ledger has
        self._forgotten = dict.fromkeys(connections, 0)
        self._forgotten_by_others = {  # a Unix time
            bus: known.watched_until for bus, known in self._receptions.items()
        }
        self._followed: Mapping[str, Followed] = {}
        self._history: list[str] = []
        self._problems = ProblemLog(log)

    def run(self, stopping: threading.Event) -> None:
        """Tick until `stopping`, then write the last state."""
        while not stopping.wait(TICK_INTERVAL):
            self.tick(time.time(), steady())
        self._write(self._connections)  # without a tick: the connections are being closed

    def tick(self, now: float, since_start: float | None = None) -> None:
        """Look at the connections, and write what cannot wait.

        `since_start` is the time by the steady clock.
        """
        if not may_be(now, self._ledger.floor):
            return  # the clock is wrong, so the ledger is not; the time counts as blind
        due = []
        followed = self._followed = received_by_followers(self._ledger, self._connections, now)
        for bus, connection in self._connections.items():
            before, written = self._receptions[bus], self._written[bus]
            others = followed.get(bus)
            if self._is_forgotten(bus, others):
                before = before.lost_since(self._last_message(bus))
                self._report_forgotten(bus, before.watched_until, now)
            watched = WatchedBus(
                connection.connected, connection.connects, connection.seconds_since_turn()
            )
            if others:
                received = others.interval
                before = before.received_by_others(received, now, watched.connects, since_start)
            if watched.up or not others:
                before = before.after(now, watched, since_start)
            after = before.forgetting(self._ledger.floor - BLIND_TIMES_KEPT_SECONDS)
            self._receptions[bus] = after
            if (
                after.receiving != written.receiving
                or after.blind_total != written.blind_total
                or after.watched_until - written.watched_until >= WRITE_INTERVAL
            ):
                due.append(bus)
        self._write(due)

    def reception(self, bus: str) -> Reception:
        """Return what is known of a bus now."""
        return self._receptions[bus]

    def is_received_by_others(self, bus: str) -> bool:
        """Return whether busmons that follow this one receive from a bus."""
        return bus in self._followed

    def history(self) -> Sequence[str]:
        """Return a line for each of the last times that a broker had kept nothing."""
        return self._history

    def seconds(self, now: float, since_start: float | None = None) -> dict[str, float]:
        """Return for how long busmon was blind on each bus in all, over restarts."""
        receptions = self._receptions.items()
        return {bus: known.blind_seconds(now, since_start) for bus, known in receptions}

    def _is_forgotten(self, bus: str, others: Followed | None) -> bool:
        """Return whether this busmon, or one that follows, just found that nothing was kept."""
        known, reported = self._forgotten[bus], self._forgotten_by_others[bus]
        self._forgotten[bus] = self._connections[bus].forgotten
        if others and others.forgotten:
            self._forgotten_by_others[bus] = max(reported, others.forgotten)
        return self._forgotten[bus] > known or self._forgotten_by_others[bus] > reported

    def _last_message(self, bus: str) -> float | None:
        received = last_received(self._ledger.counts()).items()
        return max((at for (of, _), at in received if of == bus), default=None)

    def _report_forgotten(self, bus: str, since: float, until: float) -> None:
        text = (
            f"{bus}: the broker kept nothing from {format_span(since, until)}: no queue or session"
        )
        log.warning("%s; what was sent meanwhile may be lost", text)
        self._history = [*self._history[1 - HISTORY_LINES :], text]

    def _load(self, bus: str, now: float) -> Reception:
        with self._ledger.write() as tables:
            oldest = (self._ledger.floor or now) - BLIND_TIMES_KEPT_SECONDS
            known = tables.blind_times.load(bus, now, oldest)
        return Reception(known.watched_until, known.total, known.intervals)

    def _write(self, buses: Iterable[str]) -> None:
        """Bring the ledger up to date. If that fails, the next tick tries again."""
        if not (receptions := {bus: self._receptions[bus] for bus in buses}):
            return
        try:
            with self._ledger.write() as tables:
                for bus, known in receptions.items():
                    until = known.watched_until
                    new = {*known.blind_times} - {*self._written[bus].blind_times}
                    tables.blind_times.save(bus, until, known.blind_total, new)
        except LedgerWriteError as error:
            self._problems.problem(f"ledger: cannot write the blind times: {error}")
            return
        self._problems.solved()
        self._written |= receptions
