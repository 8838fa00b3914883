"""What becomes of the listener's queue, and of its messages, when the listener ends.

A message that kills the listener is not acknowledged, nor are those that the broker had sent
ahead. If the queue is exclusive or auto-deleted, as Packit's, the broker deletes it with the
connection and all of them are lost: one death. If not, they come back: a crash loop.
"""

from enum import StrEnum
from typing import NamedTuple


class ListenerQueue(StrEnum):
    """Whether the queue outlives the listener's connection."""

    TEMPORARY = "temporary"  # no: it is exclusive or auto-deleted
    PERMANENT = "permanent"  # yes
    UNKNOWN = "unknown"  # its file does not say it, or is not known


class QueueState(NamedTuple):
    """How the broker says that a queue is; what it does not say, or was not asked, is None."""

    there: bool = True
    held: bool = False  # exclusive, and the connection that has declared it lives
    messages: int | None = None  # that wait, without those that were delivered
    consumers: int | None = None

    @property
    def unused(self) -> bool:
        """Whether the queue is there, and nobody consumes from it."""
        return self.there and self.consumers == 0


DESCRIPTION = {
    ListenerQueue.TEMPORARY: "its queue is deleted with its connection",
    ListenerQueue.PERMANENT: "its queue outlives its connection",
    ListenerQueue.UNKNOWN: "its queue is not known",
}

# After a message that kills the listener.
DEATH = {
    ListenerQueue.TEMPORARY: (
        "the listener dies once; its queue is deleted with its connection, so what it had"
        " prefetched, and what comes until it is up again, is lost"
    ),
    ListenerQueue.PERMANENT: (
        "the message goes back to the listener's queue and kills it after each start: a crash loop"
    ),
    ListenerQueue.UNKNOWN: (
        "the listener dies; an exclusive or auto-deleted queue is deleted then, with what was"
        " prefetched, and from any other the message comes back: a crash loop"
    ),
}

# Of a listener that has ended.
PREFETCHED = {
    ListenerQueue.TEMPORARY: "what it had prefetched was lost with its queue",
    ListenerQueue.PERMANENT: "what it had prefetched went back to its queue",
    ListenerQueue.UNKNOWN: "what it had prefetched was lost, if its queue was deleted then",
}

# While the listener is down.
DOWN = {
    ListenerQueue.TEMPORARY: "its queue is gone with its connection, and new messages are lost",
    ListenerQueue.PERMANENT: "its queue keeps new messages",
    ListenerQueue.UNKNOWN: "new messages wait in its queue, or are lost",
}

# Of a message that came while no listener ran.
ABSENCE = {
    ListenerQueue.TEMPORARY: "its queue did not exist then, so the listener never received this",
    ListenerQueue.PERMANENT: "its queue kept this for the listener",
    ListenerQueue.UNKNOWN: "if its queue did not exist then, the listener never received this",
}
