"""Which messages of a batch STOMP has to acknowledge."""

import time
from collections.abc import Iterable

from busmon.sources.stomp.frames import write_frame

Headers = dict[str, str]


class Acknowledgements:
    """The acknowledgements of one connection.

    After a restart ActiveMQ sends some messages of a durable subscription twice. It takes one
    acknowledgement of such a message, and ends the connection at the second. It can keep
    others back, too, until the next connection, so that this one should not last.
    """

    def __init__(self, mode: str, prefetch: int) -> None:
        self.doubled_at: float | None = None  # monotonic, when a message last came twice
        self._mode, self._prefetch = mode, prefetch
        self._done: dict[tuple[str, str], None] = {}  # subscription and id, in order

    def frames(self, batch: Iterable[Headers]) -> bytes:
        """Return the frames that acknowledge messages with these headers."""
        wanted = self._last_ones(batch) if self._mode == "client" else self._new_ones(batch)
        return b"".join(write_frame("ACK", {"id": headers["ack"]}) for headers in wanted)

    def _last_ones(self, batch: Iterable[Headers]) -> Iterable[Headers]:
        """Return the last message of each subscription, which stands for those before it."""
        last: dict[str, Headers] = {}
        for headers in batch:
            # Out and in again, since the acknowledgements must keep the order of delivery:
            # RabbitMQ's reach over all subscriptions, and refuse to go back.
            last.pop(headers["subscription"], None)
            last[headers["subscription"]] = headers
        return last.values()

    def _new_ones(self, batch: Iterable[Headers]) -> Iterable[Headers]:
        """Return those not acknowledged yet, among as many as can be under way."""
        new = []
        for headers in batch:
            message = headers["subscription"], headers.get("message-id") or headers["ack"]
            if message in self._done:
                self.doubled_at = time.monotonic()
                continue
            new.append(headers)
            self._done[message] = None
            if len(self._done) > self._prefetch:
                del self._done[next(iter(self._done))]
        return new
