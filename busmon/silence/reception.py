"""When busmon received from one bus, and when it was blind: pure, times are Unix seconds."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from busmon.ledger.clock import may_be
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
    """Until when busmon received from a bus, and the blind times before that.

    Lengths are those of a steady clock, since the host's can be set. If it jumps ahead, the time
    that it left out is in `blind_times`, because nobody watched it, but not in `blind_total`.
    """

    watched_until: float
    blind_total: float = 0.0  # seconds, without the blind time that is not over yet
    blind_times: tuple[Interval, ...] = ()  # oldest first
    receiving: bool = False
    connects: int = 0
    steady: float | None = None  # at `watched_until`; None: not known, as after a restart
    before: float = 0.0  # seconds without reception, before `steady`
    guessed: float = 0.0  # of `blind_total`, what only the host's clock says

    def after(self, now: float, connection: WatchedBus, steady: float | None = None) -> "Reception":
        """Return the reception after a tick at `now`, which is `steady` by the steady clock."""
        if now < self.watched_until:
            return self._cut(now, steady).after(now, connection, steady)
        if not connection.up:
            return replace(self, receiving=False)
        receiving = replace(
            self,
            watched_until=now,
            receiving=True,
            connects=connection.connects,
            steady=steady,
            before=0.0,
        )
        unbroken = self.receiving and self.connects == connection.connects
        length = self._length(now, steady)
        if unbroken and length <= MAX_TICK_GAP_SECONDS:
            if now - self.watched_until <= 2 * MAX_TICK_GAP_SECONDS:
                # The thread may hang, which shows only after some seconds.
                busy = connection.busy_seconds > TURN_SECONDS
                return self if busy else receiving
            length = 0.0  # the clock was set
        guessed = length if self.steady is None else self.guessed
        total = self.blind_total + length
        receiving = replace(receiving, blind_total=total, guessed=guessed)
        if now == self.watched_until:
            return receiving
        return replace(
            receiving, blind_times=(*self.blind_times, Interval(self.watched_until, now))
        )

    def received_by_others(
        self, others: Interval, now: float, connects: int, steady: float | None
    ) -> "Reception":
        """Return the reception if others received without a gap, up to a time before `now`."""
        known = self
        if others.since > self.watched_until:
            before = None if steady is None else steady - (now - others.since)
            known = self.after(others.since, WatchedBus(True, connects), before)
        watched = max(known.watched_until, min(others.until, now))
        return replace(
            known,
            watched_until=watched,
            receiving=True,
            connects=connects,
            steady=None if steady is None else steady - (now - watched),
            before=0.0,
        )

    def _length(self, now: float, steady: float | None) -> float:
        """Return for how long busmon has not looked at the bus, or not received."""
        if self.steady is None or steady is None:
            return max(0.0, now - self.watched_until)
        return self.before + max(0.0, steady - self.steady)

    def _cut(self, now: float, steady: float | None) -> "Reception":
        """Return the reception when the clock was set back to `now`."""
        known = [Interval(since, min(until, now)) for since, until in self.blind_times]
        beyond = sum(max(0.0, until - max(since, now)) for since, until in self.blind_times)
        wrong = min(self.guessed, beyond)  # it has not even come
        return replace(
            self,
            watched_until=now,
            blind_total=max(0.0, self.blind_total - wrong),
            blind_times=tuple(interval for interval in known if interval.since < now),
            steady=steady,
            before=self._length(now, steady),
            guessed=0.0,
        )

    def lost_since(self, last_message: float | None) -> "Reception":
        """Return the reception if the broker lost what came after the last message."""
        if last_message is None or last_message >= self.watched_until:
            return self
        known = self.blind_times[-1].until if self.blind_times else last_message
        since = max(last_message, known)
        before = self.before + self.watched_until - since
        return replace(self, watched_until=since, receiving=False, before=before)

    def blind_seconds(self, now: float, steady: float | None = None) -> float:
        """Return for how long busmon was blind in all, up to `now`."""
        current = 0.0 if self.receiving else self._length(now, steady)
        return self.blind_total + current

    def forgetting(self, before: float) -> "Reception":
        """Return the reception without the blind times that ended before then."""
        kept = tuple(known for known in self.blind_times if known.until > before)
        return self if len(kept) == len(self.blind_times) else replace(self, blind_times=kept)

    def blind_between(self, since: float, until: float) -> list[Interval]:
        """Return the blind times that overlap this time, with the one that is not over yet."""
        first = bisect_right(self.blind_times, since, key=lambda interval: interval.until)
        found = [known for known in self.blind_times[first:] if known.since < until]
        if not self.receiving and max(self.watched_until, since) < until:
            found.append(Interval(self.watched_until, until))
        return found


def blind_by_hour(intervals: Iterable[Interval], oldest: float = 0.0) -> dict[int, float]:
    """Return the blind seconds of each hour of Unix time that has any, from `oldest` on."""
    seconds: dict[int, float] = {}
    for began, until in intervals:
        since = max(began, oldest)
        for hour in range(int(since // 3600), int(until // 3600) + 1):
            part = min(until, (hour + 1) * 3600) - max(since, hour * 3600)
            if part > 0:
                seconds[hour] = min(3600.0, seconds.get(hour, 0.0) + part)
    return seconds


def is_plausible(now: float, floor: float) -> bool:
    """Return whether a clock that says `now` can be right, and there is something to learn."""
    return may_be(now, floor) and (not floor or now < floor + BLIND_TIMES_KEPT_SECONDS)
