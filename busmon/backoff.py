"""The pauses between attempts to connect: they grow, and have jitter."""

import random

FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 30.0


class Backoff:
    """The delay before the next attempt, in seconds."""

    def __init__(self) -> None:
        self.delay = FIRST_DELAY_SECONDS

    def reset(self) -> None:
        """Start again with the first delay, after a connection that lasted."""
        self.delay = FIRST_DELAY_SECONDS

    def next_pause(self) -> float:
        """Return the seconds to wait now: half the delay or more. Then double the delay."""
        pause = self.delay * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret
        self.delay = min(self.delay * 2, MAX_DELAY_SECONDS)
        return pause
