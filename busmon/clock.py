"""A clock for lengths of time: nobody can set it, and it goes on while the machine is suspended."""

import time


def steady() -> float:
    """Return the seconds since the machine started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
