"""Of which topics the archive is asked: those that the queue of a bus is bound to."""

from collections.abc import Iterable
from urllib.parse import quote

from busmon.sources.filters import any_matches

MAX_BYTES = 3000  # of all topics in a URL; Datagrepper's server refuses a request line of 4 kB


class BoundTopics:
    """What some routing keys let through, with `*` and `#` as in AMQP."""

    def __init__(self, routing_keys: Iterable[str]) -> None:
        self._keys = frozenset(routing_keys)
        exact = not any({"*", "#"} & set(key.split(".")) for key in self._keys)
        size = sum(len(f"&topic={quote(key)}") for key in self._keys)
        # The archive knows no wildcards. So it is asked for every topic if there is one.
        self.to_ask = tuple(sorted(self._keys)) if exact and size <= MAX_BYTES else ()

    def has(self, topic: str) -> bool:
        """Return whether a message of this topic comes to the queue."""
        return any_matches(self._keys, topic)
