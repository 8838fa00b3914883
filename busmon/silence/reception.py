"""When busmon received from one bus, and when it was blind: pure, times are Unix seconds."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from busmon.ledger.hourly import HOURS_KEPT
from busmon.ledger.values import Interval

MAX_TICK_GAP_SECONDS = 30.0  # a longer gap means that the process was suspended
TURN_SECONDS = 1.0  # in which the thread of a bus comes to receive, unless it is busy
BLIND_TIMES_KEPT_SECONDS = HOURS_KEPT * 3600.0  # as long as the hourly sums


class WatchedBus(NamedTuple):
    """What a tick sees: whether the bus is connected, and how many times it was connected."""

    up: bool
    connects: int
    busy_seconds: float = 0.0  # since its thread last came to receive


@dataclass(frozen=True, slots=True)
class Reception:
    """Until when busmon received from a bus, and the blind times before that."""

    watched_until: float
    blind_total: float = 0.0  # seconds, without the blind time that is not over yet
    blind_times: tuple[Interval, ...] = ()  # oldest first
    receiving: bool = False
    connects: int = 0

    def after(self, now: float, connection: WatchedBus) -> "Reception":
        """Return the reception after a tick at `now`."""
        if not connection.up:
            return replace(self, receiving=False)
        receiving = replace(self, watched_until=now, receiving=True, connects=connection.connects)
        unbroken = self.receiving and self.connects == connection.connects
        gap = now - self.watched_until  # negative if the clock was set back
        if gap <= 0:
            return receiving
        if unbroken and gap <= MAX_TICK_GAP_SECONDS:
            # The thread may hang, which shows only after some seconds.
            busy = connection.busy_seconds > TURN_SECONDS
            return self if busy else receiving
        kept = [known for known in self.blind_times if known.until > now - BLIND_TIMES_KEPT_SECONDS]
        blind_times = (*kept, Interval(self.watched_until, now))
        return replace(receiving, blind_total=self.blind_total + gap, blind_times=blind_times)

    def lost_since(self, last_message: float | None) -> "Reception":
        """Return the reception if the broker lost what came after the last message."""
        if last_message is None or last_message >= self.watched_until:
            return self
        known = self.blind_times[-1].until if self.blind_times else last_message
        return replace(self, watched_until=max(last_message, known), receiving=False)

    def blind_seconds(self, now: float) -> float:
        """Return for how long busmon was blind in all, up to `now`."""
        current = 0.0 if self.receiving else max(0.0, now - self.watched_until)
        return self.blind_total + current

    def blind_between(self, since: float, until: float) -> list[Interval]:
        """Return the blind times that overlap this time, with the one that is not over yet."""
        first = bisect_right(self.blind_times, since, key=lambda interval: interval.until)
        found = [known for known in self.blind_times[first:] if known.since < until]
        if not self.receiving and max(self.watched_until, since) < until:
            found.append(Interval(self.watched_until, until))
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
