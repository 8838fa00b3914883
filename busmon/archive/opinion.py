"""What the archive says of a topic that is silent, or low: pure.

The archive is a second witness, and is never taken for the truth. Only single messages that it
has, and the ledger has not, are evidence that busmon lost them.
"""

from dataclasses import dataclass
from typing import NamedTuple

# One message can be an accident: sent with a wrong clock, or at the last moment before the span.
MIN_LACKING = 2


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the archive says of a time in which busmon received nothing of a topic."""

    since: float = 0.0  # Unix time; busmon's newest message is older
    messages: int = 0  # that the archive has from then on
    lacking: int = 0  # those of them that are not in the ledger, of the newest ones
    unknown: str = ""  # why it cannot tell

    @property
    def lost(self) -> bool:
        """Return whether others received messages that busmon did not."""
        return not self.unknown and self.lacking >= MIN_LACKING

    @property
    def confirms(self) -> bool:
        """Return whether nobody else received a message either."""
        return not self.unknown and not self.lacking


class Comparison(NamedTuple):
    """The messages of a topic that has too few, in the same hours."""

    since: float  # Unix time
    archive: int
    ours: int
