"""How values are shown to people: untrusted text, times, durations, numbers, addresses."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

SHOWN_ITEMS = 3  # of a list; then how many more there are


def printable(text: str) -> str:
    """Return text that came over a bus as one line without control characters."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def format_time(unix: float) -> str:
    """Return a Unix time as "2026-01-31 12:00:00 UTC"."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def format_span(start: float, end: float) -> str:
    """Return two Unix times as "2026-01-31 12:00:00 to 12:05:00 UTC"."""
    first, last = (datetime.fromtimestamp(time, UTC) for time in (start, end))
    same_day = first.date() == last.date()
    return (
        f"{first:%Y-%m-%d %H:%M:%S} to {last:{'%H:%M:%S' if same_day else '%Y-%m-%d %H:%M:%S'}} UTC"
    )


def format_duration(seconds: float) -> str:
    """Return a duration in a unit that leaves two digits: "0.25 s", "90 s", "3 h", "12 d"."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{max(0.0, round(seconds, 3)):.2g} s"


def format_age(seconds: float) -> str:
    """Return how long ago something was: "just now", "12 s ago"."""
    return "just now" if seconds < 1 else f"{format_duration(seconds)} ago"


def format_number(number: int, noun: str) -> str:
    """Return a number with its noun: "1 message", "2000 messages"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_address(host: str, port: int) -> str:
    """Return `host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_address(
    text: str, shape: str = "host:port, an IPv6 address in brackets"
) -> tuple[str, int]:
    """Split `host:port`, an IPv6 address in brackets; ValueError if it is anything else.

    `shape` is what the error says of the text that somebody wrote.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+)):([0-9]{1,5})", text)
    if not match or int(match[3]) > 65535:
        raise ValueError(f"should be {shape}")
    host = match[1] or match[2]
    check_host(host)
    return host, int(match[3])


def check_host(name: str) -> None:
    """Raise ValueError if no host can have this name."""
    try:
        name.encode("idna")  # as Python does before it looks for the host
    except UnicodeError:
        raise ValueError(
            "no host can have this name: is a part of it empty, or longer than 63 characters?"
        ) from None


def format_items(items: Sequence[str], noun: str) -> str:
    """Return how many there are, and the first: "5 topics: a, b, c and 2 more"."""
    more = f" and {len(items) - SHOWN_ITEMS} more" if len(items) > SHOWN_ITEMS else ""
    return f"{format_number(len(items), noun)}: {', '.join(items[:SHOWN_ITEMS])}{more}"


def format_choice(items: Sequence[str]) -> str:
    """Return "a, b or c"."""
    return " or ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
