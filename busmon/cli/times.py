"""Times as options have them: what click calls to read them."""

import time
from contextlib import suppress

import click

EXAMPLE = '"2026-03-01 14:05:00"'
WINDOW = f"should be the time at which a window began, as `busmon gaps` prints it: {EXAMPLE}"
TIME = f"should be a time in UTC, {EXAMPLE}, or how long ago that was: 90m, 24h, 7d"


def _seconds(text: str) -> int:
    """Return the seconds of a duration; ValueError if it is none, or longer than there is time."""
    from busmon.settings.units import UNITS, parse_quantity

    seconds = parse_quantity(text, UNITS)  # ValueError also of more digits than Python reads
    if seconds > time.time():
        raise ValueError("longer than there is time")
    return seconds


def _moment(text: str) -> float:
    """Return a time as `busmon gaps` prints it in Unix time; ValueError if it is none."""
    from busmon.settings.units import parse_moment

    unix = parse_moment(text.strip())
    if unix < 0:
        raise ValueError("before 1970")
    return unix


def window_start(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> float | None:
    """Return when a window began, as a Unix time."""
    with suppress(ValueError):
        return None if text is None else _moment(text)
    raise click.BadParameter(WINDOW)


def time_or_age(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> float | None:
    """Return a Unix time, given so or as how long ago it was."""
    if text is None:
        return None
    with suppress(ValueError):
        return time.time() - _seconds(text.strip())
    with suppress(ValueError):
        return _moment(text)
    raise click.BadParameter(TIME)


def past_time(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """Return the same, if it is not in the future: nothing is known of that."""
    unix = time_or_age(context, option, text)
    if unix is not None and unix > time.time():
        raise click.BadParameter("is in the future")
    return unix
