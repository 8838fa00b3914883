"""Of which topics the archive is asked: those that the queue of a bus is bound to."""

from collections.abc import Collection, Iterable
from itertools import accumulate
from urllib.parse import quote

from busmon.sources.filters import any_matches

MAX_BYTES = 3000  # of all topics in a URL; Datagrepper's server refuses a request line of 4 kB


def fitting(topics: Collection[str]) -> list[str]:
    """Return the first topics, as many as a URL has room for."""
    ends = accumulate(len(f"&topic={quote(topic)}") for topic in topics)
    return [topic for topic, end in zip(topics, ends, strict=True) if end <= MAX_BYTES]


class BoundTopics:
    """What some routing keys let through, with `*` and `#` as in AMQP."""

    def __init__(self, routing_keys: Iterable[str]) -> None:
        self._keys = frozenset(routing_keys)
        exact = not any({"*", "#"} & set(key.split(".")) for key in self._keys)
        fit = len(fitting(self._keys)) == len(self._keys)
        # The archive knows no wildcards. So it is asked for every topic if there is one.
        self.to_ask = tuple(sorted(self._keys)) if exact and fit else ()

    def has(self, topic: str) -> bool:
        """Return whether a message of this topic comes to the queue."""
        return any_matches(self._keys, topic)
