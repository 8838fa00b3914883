"""URLs in the configuration."""

import re
from urllib.parse import urlsplit

from busmon.text import check_host


def check_url(text: str, problem: str) -> None:
    """Raise ValueError, with this problem, unless it is http(s)://HOST[:PORT]/PATH."""
    if "@" in text:  # the URL is logged, or shown
        raise ValueError("should hold no user and no password")
    try:
        parts = urlsplit(text)
        sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # of a port, or of brackets
        raise ValueError(problem) from None
    if not sound or parts.query or parts.fragment or not re.fullmatch(r"[!-~]+", text):
        raise ValueError(problem)
    check_host(str(parts.hostname))
