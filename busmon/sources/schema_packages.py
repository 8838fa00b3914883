"""The schema packages that are installed: message classes as entry points `fedora.messages`.

fedora-messaging checks a message by the class that its header names, if that is installed, and
otherwise as any message. So what is invalid depends on what is installed.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from typing import Any


@cache
def _installed() -> EntryPoints:
    return entry_points(group="fedora.messages")


@cache
def _names() -> frozenset[str]:
    return frozenset(_installed().names)


def is_unknown(headers: dict[str, Any] | None) -> bool:
    """Return whether a message names a schema that is not installed."""
    name = (headers or {}).get("fedora_messaging_schema")
    return isinstance(name, str) and name not in _names()


@cache
def _versions() -> dict[str, str]:
    found = {point.dist for point in _installed() if point.dist}
    return {re.sub("[-_.]+", "-", dist.name).lower(): dist.version for dist in found}


def missing(of_listener: Iterable[str]) -> list[str]:
    """Return which of the listener's packages are not installed here."""
    return sorted(set(of_listener) - _versions().keys())


def describe(of_listener: Iterable[str] = ()) -> str:
    """Return name and version of each package, and which of the listener's are missing.

    fedora-messaging is one of them: it has the base schema.
    """
    installed = ", ".join(f"{name} {version}" for name, version in sorted(_versions().items()))
    absent = ", ".join(missing(of_listener))
    return f"{installed}; not {absent}, which the listener has" if absent else installed
