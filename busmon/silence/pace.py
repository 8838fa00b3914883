"""How fast a topic and its bus are now, by their usual rates: pure functions.

On a holiday everything is slower than usual, so pauses are longer. A pace does not change during
a pause: otherwise silence would explain itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from busmon.silence.rates import WEEK_HOURS, Hour, Rates

PRIOR_MESSAGES = 5.0  # without messages, the pace counts as the usual one
MIN_TOPICS = 5  # whose paces together give that of a bus


@dataclass(frozen=True, slots=True)
class Memory:
    """For how long a pace remembers: the longer one of the two half-lives holds."""

    hours: float
    messages: float

    def decay(self, rates: Rates, hours: float = 1.0) -> float:
        """Return the fraction of the memory that is left after some hours."""
        return float(0.5 ** (hours / max(self.hours, self.messages / rates.mean())))


OWN = Memory(12.0, 30.0)  # of a topic
COMMON = Memory(3.0, 10.0)  # of the topics of a bus together: many messages, so known sooner


@dataclass(frozen=True, slots=True)
class Pace:
    """Recent messages of a topic, and how many were expected; both decay with a half-life."""

    messages: float = 0.0
    expected: float = 0.0

    def after(self, messages: int, expected: float, decay: float) -> "Pace":
        """Return the pace after some more time."""
        return Pace(self.messages * decay + messages, self.expected * decay + expected)

    def factor(self) -> float:
        """Return the fraction of the usual rates that is to be expected, at most 1."""
        return min(1.0, (self.messages + PRIOR_MESSAGES) / (self.expected + PRIOR_MESSAGES))


def pace_at_end(history: Sequence[Hour], rates: Rates, memory: Memory) -> Pace:
    """Return the pace at the end of a history, which ends with the last message."""
    fading = memory.decay(rates)
    came = usual = 0.0
    for hour, messages, watched in history:
        came = came * fading + messages
        usual = usual * fading + rates.hourly[hour % WEEK_HOURS] * watched
    return Pace(came, usual)


def common_pace(paces: Sequence[float]) -> float:
    """Return the pace of a bus, from those of its topics: on a holiday most are slow.

    A rare topic learns of a holiday from the busy ones. If all topics are silent, nothing changes.
    """
    return median(paces) if len(paces) >= MIN_TOPICS else 1.0
