"""How values are shown to people: untrusted text, times, durations, numbers, addresses."""

from datetime import UTC, datetime


def printable(text: str) -> str:
    """Return text that came over a bus as one line without control characters."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def format_time(unix: float) -> str:
    """Return a Unix time as "2026-01-31 12:00:00 UTC"."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def format_duration(seconds: float) -> str:
    """Return a duration in its largest unit that keeps two digits: "90 s", "3 h", "12 d"."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def format_number(number: int, noun: str) -> str:
    """Return a number with its noun: "1 message", "2000 messages"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_address(host: str, port: int) -> str:
    """Return `host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
