"""Whether the listener receives nothing, although the bus brings messages for it.

Only messages that busmon received live are evidence. After each connection, the broker first
sends what it kept for busmon. The listener may have had that long before, or have lost it in
the same outage.
"""

from busmon.diagnosis.history import History
from busmon.silence.reception import MAX_TICK_GAP_SECONDS, Reception

STALLED_SECONDS = 300.0  # without a message at the listener, while the bus brings some
MIN_CATCH_UP_SECONDS = 10.0  # after a blind time, in which the broker may send what it kept


class Standstill:
    """Compares the listener's own count with what the bus brings; times are Unix times.

    `transit` is within which a message that busmon has must appear in the listener's count, and
    the other way round, in seconds.
    """

    def __init__(self, transit: float) -> None:
        self._transit = transit
        self._answer: object = None
        self._since = 0.0  # since when the answer is the same
        self._looked = 0.0
        self._handled = 0
        self._live = 0  # messages that busmon received live
        self._expected_from = 0  # as `_live`; what came before is in the listener's count
        self._lives = History[int](transit)

    def seconds(self, now: float) -> float:
        """Return for how long the listener's count has not changed; 0 if that is not known."""
        return 0.0 if self._answer is None else now - self._since

    def messages(self, now: float, answer: object, handled: int, reception: Reception) -> int:
        """Return how many messages the bus brought, if the listener received none for 5 minutes.

        `answer` is the listener's count, with its number of restarts; None if it did not answer.
        `handled` are all messages of the bus so far that are for the listener. This must be
        called every few seconds.
        """
        unwatched = not 0 <= now - self._looked <= MAX_TICK_GAP_SECONDS
        if not unwatched and is_live(reception, now):
            self._live += handled - self._handled
        if unwatched or answer is None or answer != self._answer:
            self._answer, self._since = answer, now
        self._looked, self._handled = now, handled
        self._lives.add(now, self._live)
        if now < self._since + self._transit:
            self._expected_from = self._live
        if self.seconds(now) < STALLED_SECONDS:
            return 0
        return max(0, (self._lives.at(now - self._transit) or 0) - self._expected_from)


def is_live(reception: Reception, now: float) -> bool:
    """Return whether what busmon receives now comes from the publisher at once.

    What was kept during a blind time takes at most as long as that, and at most 5 minutes.
    """
    if not reception.receiving:
        return False
    if not reception.blind_times:
        return True
    since, until = reception.blind_times[-1]
    return now - until >= min(max(until - since, MIN_CATCH_UP_SECONDS), STALLED_SECONDS)
