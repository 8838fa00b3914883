"""About which time the archive may be asked: it stores messages some time after they were sent."""

from busmon.archive.client import Datagrepper, Unanswered

ALIVE_SECONDS = 600  # an archive that is up to date has a message of the last ten minutes
SETTLED_SECONDS = 300  # it stores messages in about the order of their times
AHEAD_SECONDS = 60  # by which the clock of a publisher may be
FRESH_SECONDS = 60.0  # for which an answer is used


class Lag:
    """How far the archive has come. Each job has its own, and asks only while it has questions."""

    def __init__(self, archive: Datagrepper) -> None:
        self._archive = archive
        self._asked_at: float | None = None
        self._newest = 0.0

    def settled(self, now: float) -> float | None:
        """Return the Unix time before which the archive has all; None: `ask` first."""
        if self._asked_at is None or not 0 <= now - self._asked_at < FRESH_SECONDS:
            return None
        return min(now, self._newest) - SETTLED_SECONDS

    def ask(self, now: float) -> float:
        """Send a request, and return the time before which the archive has all.

        Raises Unanswered, also if the archive has no recent message.
        """
        since, until = int(now) - ALIVE_SECONDS, int(now) + AHEAD_SECONDS
        found = self._archive.search([], since, until, rows=1)
        newest = found.messages[0].sent_at if found.messages else None
        if newest is None:
            raise Unanswered("has no message of the last ten minutes, so it is not up to date")
        self._asked_at, self._newest = now, newest
        return min(now, newest) - SETTLED_SECONDS
