"""What the query of a page says: values that can be anything, checked."""

from collections.abc import Iterable
from typing import TypeVar

from busmon.settings.units import LAST_TIME, parse_moment, parse_number
from busmon.web.pages.page import Malformed, Request

Choice = TypeVar("Choice", bound=str)


def text(request: Request, name: str) -> str | None:
    """Return a value; None if it is not given, or empty as in a form that is not filled in."""
    return request.query.get(name) or None


def choice(request: Request, name: str, choices: Iterable[Choice]) -> Choice | None:
    """Return the choice that is given, or None if none is; raises Malformed."""
    if (given := text(request, name)) is None:
        return None
    known = {str(one): one for one in choices}
    if given not in known:
        raise Malformed(f"{name}: should be one of {', '.join(known)}")
    return known[given]


def number(request: Request, name: str, default: int, least: int, most: int) -> int:
    """Return a whole number within bounds; raises Malformed."""
    try:
        return parse_number(text(request, name) or str(default), least, most)
    except ValueError as error:
        raise Malformed(f"{name}: {error}") from None


def time(request: Request, name: str) -> float | None:
    """Return a Unix time, which is given so or as "2026-01-31 12:00:00"; raises Malformed."""
    if (given := text(request, name)) is None:
        return None
    try:
        unix = float(given) if given.replace(".", "", 1).isdigit() else parse_moment(given)
    except (ValueError, OverflowError):
        raise Malformed(f'{name}: should be a time in UTC, "2026-01-31 12:00:00"') from None
    if not 0 <= unix < LAST_TIME:
        raise Malformed(f"{name}: should be a time before the year 10000")
    return unix
