"""Durations, sizes, times and numbers as people write them: "7d", "16MiB", 2026-12-01."""

import re
from datetime import UTC, date, datetime, time
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
MAX_WEEKS = 5200
LAST_TIME = 253_402_300_800.0  # Unix time of the end of the year 9999
SIZES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def parse_quantity(text: str, units: dict[str, int]) -> int:
    """Return a number times its unit; ValueError says which units there are."""
    match = re.fullmatch(rf"(\d+) ?({'|'.join(units)})", text)
    if not match:
        named = ", ".join(unit for unit in units if unit)
        raise ValueError(f"should be a number and a unit ({named})")
    return int(match[1]) * units[match[2]]


def parse_number(text: str, least: int, most: int) -> int:
    """Return a whole number within bounds; ValueError says which."""
    digits = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
    if not digits or not least <= int(text) <= most:
        raise ValueError(f"should be a whole number from {least} to {most}")
    return int(text)


def _quantity(units: dict[str, int]) -> BeforeValidator:
    def parse(value: object) -> object:
        return parse_quantity(value, units) if isinstance(value, str) else value

    return BeforeValidator(parse)


def at_least(number: int, unit: str) -> AfterValidator:
    """Refuse a smaller duration or size; the error has the unit of the minimum."""

    def check(value: int) -> int:
        if value < number * (UNITS | SIZES)[unit]:
            raise ValueError(f"should be at least {number}{unit}")
        return value

    return AfterValidator(check)


def _within_a_century(seconds: int) -> int:
    """Refuse what neither a clock nor a wait can take; nobody needs it."""
    if seconds > MAX_WEEKS * UNITS["w"]:
        raise ValueError(f"should be at most {MAX_WEEKS}w")
    return seconds


def format_seconds(number: int) -> str:
    """Return a duration as the configuration has it: "90s", "3h", "7d"."""
    return _format(number, {unit: size for unit, size in UNITS.items() if unit != "w"})


def format_bytes(number: int) -> str:
    """Return a size as the configuration has it: "16MiB", or "20000000 bytes"."""
    text = _format(number, SIZES)
    return f"{text} bytes" if text.isdecimal() else text


def _format(number: int, units: dict[str, int]) -> str:
    unit = max((unit for unit in units if number % units[unit] == 0), key=units.__getitem__)
    return f"{number // units[unit]}{unit}"


def parse_moment(value: object) -> float:
    """Return a date, or a date and time, of TOML or as text in Unix time; UTC without an offset.

    A text can end with "UTC", as busmon itself shows times.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.removesuffix(" UTC"))
        except ValueError:
            value = None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise ValueError("should be a date, such as 2026-12-01, or a date and time")
    try:
        unix = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).timestamp()
    except OverflowError:  # its offset leads out of the years 1 to 9999
        unix = LAST_TIME
    if unix >= LAST_TIME:  # also a microsecond before: a float has not that many digits
        raise ValueError("should be in the years 1 to 9999 in UTC")
    return unix


Moment = Annotated[float, BeforeValidator(parse_moment)]  # Unix time
Seconds = Annotated[int, _quantity(UNITS), Field(gt=0), AfterValidator(_within_a_century)]
Bytes = Annotated[int, _quantity(SIZES), Field(gt=0)]
