"""The shape of `[silence]` and `[audit]`: what is expected of the buses and of the listener."""

from pydantic import Field

from busmon.settings.section import Section
from busmon.settings.units import Seconds


class Silence(Section):
    """`[silence]`: when a topic has been silent for too long."""

    # By topic or pattern, in place of what is learned.
    max_silence: dict[str, Seconds] = Field(default_factory=dict)


class Audit(Section):
    """`[audit]`, but for its observers: how the buses are audited, window by window."""

    window: Seconds = 300  # of the time of receipt
    grace: Seconds = 120  # after a window, for the listener and the workers to get there
    longest_task: Seconds = 3600  # after a window, for the workers to finish what they took
