"""Facts of the listener, from its own monitor, the tap in its process, and its queues."""

from busmon.diagnosis.facts import FoundQueue, Health, QueueFacts
from busmon.diagnosis.standstill import Standstill
from busmon.observers.base import Observer
from busmon.observers.queue import Look, QueueObserver
from busmon.observers.ready import ReadyObserver
from busmon.observers.tap import TapObserver
from busmon.silence.reception import Reception

STARTUP_SECONDS = 60.0  # after the start, in which an observer without data is unknown, not down
TRANSIT_SECONDS = 60.0  # within which a message may still be on its way to the listener


class ObserverWatch:
    """Whether an observer is up. After the start it is unknown, until it was up once."""

    def __init__(self, observer: Observer, started: float) -> None:
        self._observer = observer
        self._started = started
        self._was_up = False

    def at(self, now: float) -> Health:
        """Return whether it is up, and why not."""
        problem = self._observer.problem()
        if problem is None:
            self._was_up = True
            return Health(True)
        starting = not self._was_up and now - self._started < STARTUP_SECONDS
        return Health(None if starting else False, problem)


class TapWatch:
    """Whether the tap reports. Before its first report ever, nobody knows whether there is one."""

    def __init__(self, tap: TapObserver, started: float) -> None:
        self._tap = tap
        self._health = ObserverWatch(tap, started)

    def at(self, now: float) -> Health:
        """Return whether it is up, and why not."""
        health = self._health.at(now)
        return health if self._tap.last_report() is not None else Health(None, health.detail)


class MonitorWatch:
    """What the listener's monitor says, compared with what the bus delivered."""

    def __init__(self, monitor: ReadyObserver, started: float) -> None:
        self._monitor = monitor
        self._health = ObserverWatch(monitor, started)
        self._standstill = Standstill(max(TRANSIT_SECONDS, 2.0 * monitor.interval))

    def health(self, now: float) -> Health:
        """Return whether the listener is up and consumes."""
        health = self._health.at(now)
        if health.up and not self._monitor.consuming():
            return Health(False, "it answers that it is not consuming")
        return health

    def stalled(self, now: float, handled: int, reception: Reception) -> int:
        """Return how many messages the bus delivered while the listener received none.

        `handled` are all messages so far that are for the listener.
        """
        answer = self._monitor.received() if self._monitor.up() else None
        return self._standstill.messages(now, answer, handled, reception)

    def standing(self, now: float) -> float:
        """Return for how many seconds the listener has received nothing; 0 if not known."""
        return self._standstill.seconds(now)


class QueueWatch:
    """The listener's queues, as the broker says they are."""

    def __init__(self, observer: QueueObserver, started: float) -> None:
        self._observer = observer
        self._health = ObserverWatch(observer, started)

    def facts(self, now: float) -> QueueFacts:
        """Return what the broker says of the queues."""
        looks = self._observer.looks().items()
        queues = tuple(self._queue(now, name, look) for name, look in looks)
        return QueueFacts(self._health.at(now), queues)

    def _queue(self, now: float, name: str, look: Look) -> FoundQueue:
        return FoundQueue(
            name,
            look.state,
            None if look.wrong_since is None else look.counted - look.wrong_since,
            self._observer.was_there(name),
            0.0 if look.waiting_since is None else now - look.waiting_since,
            (look.state.messages or 0) - look.waited if look.waiting_since else 0,
        )
