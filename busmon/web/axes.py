"""The axes of a graph: which values and times get a label, and how numbers and times are shown."""

from datetime import UTC, datetime
from typing import NamedTuple

MAX_TICKS, VALUE_TICKS = 13, 4  # at most: of the times, and of the values above 0
HOUR, DAY, MONDAY = 3600, 86400, 4 * 86400  # seconds; Unix time began on a Thursday
SPACINGS = (HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 7 * DAY, 14 * DAY)
MONTHS = (1, 3, 6, 12, 24, 60, 120, 600)  # between two ticks
UNITS = ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))  # from, size, unit


class Tick(NamedTuple):
    """A label of the time axis."""

    at: int  # Unix time
    label: str


def scale(highest: float) -> list[float]:
    """Return the values from 0 on that get a label; the last one is not below `highest`."""
    size = 1.0
    while True:
        for factor in (1.0, 2.0, 5.0):
            spacing = factor * size
            if spacing * VALUE_TICKS >= highest:
                needed = max(1, -int(-highest // spacing))
                return [n * spacing for n in range(needed + 1)]
        size *= 10


def ticks(start: int, end: int) -> list[Tick]:
    """Return labels for the time from `start` to before `end`: at most `MAX_TICKS`, all in UTC."""
    for spacing in SPACINGS:
        offset = MONDAY if spacing >= 7 * DAY else 0
        if (end - start) / spacing <= MAX_TICKS:
            first = -((offset - start) // spacing) * spacing + offset
            return [Tick(at, _label(at, spacing)) for at in range(first, end, spacing)]
    months = [_month(number) for number in range(_number(start), _number(end - 1) + 1)]
    for spacing in MONTHS:
        found = [one for one in months if start <= one < end and _number(one) % spacing == 0]
        if len(found) <= MAX_TICKS:
            break
    return [Tick(at, f"{_utc(at):{'%Y' if _utc(at).month == 1 else '%b'}}") for at in found]


def exact(value: float) -> str:
    """Return a number in full: "12,345"; one that is not whole with a decimal."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def short(value: float) -> str:
    """Return a number for an axis: "9,999", "25k", "1.5M"."""
    for least, size, unit in UNITS:
        if value >= least:
            return f"{value / size:g}{unit}"
    return exact(value)


def minute(at: float) -> str:
    """Return a Unix time without its seconds: "2026-01-31 12:00"."""
    return f"{_utc(at):%Y-%m-%d %H:%M}"


def _label(at: int, spacing: int) -> str:
    return f"{_utc(at):%H:%M}" if spacing < DAY and at % DAY else f"{_utc(at):%-d %b}"


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _number(at: int) -> int:
    """Return the number of the month of a Unix time."""
    return _utc(at).year * 12 + _utc(at).month - 1


def _month(number: int) -> int:
    """Return the Unix time at which a month begins."""
    return int(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp())
