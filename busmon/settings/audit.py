"""The section `[audit]`: how the listener and its workers are audited."""

from busmon.settings.section import Section
from busmon.settings.units import Seconds


class Audit(Section):
    """`[audit]` without its observers: how the buses are audited, window by window."""

    window: Seconds = 300  # by the time when busmon received a message
    grace: Seconds = 120  # after a window, until the listener and the workers have its messages
    longest_task: Seconds = 3600  # after a window, until the workers have finished its trees
