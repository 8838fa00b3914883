"""Asks the monitor of a listener: `/ready` of fedora-messaging 3.6 and later.

It answers 200 with `{"consuming": bool, "published": n, "consumed": {"received": n, …}}`,
whether the listener consumes or not (`[monitoring]` in the listener's TOML).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from busmon.http_client import TimedConnection
from busmon.tls import client_context

STATES = ("received", "processed", "dropped", "rejected", "failed")
TIMEOUT = 5.0  # seconds to connect and to answer


class Unanswered(Exception):
    """The monitor gave no valid answer; the text says what happened."""


@dataclass(frozen=True, slots=True)
class MonitorAnswer:
    """Whether the listener is subscribed, and its counts since its start."""

    consuming: bool
    counts: Mapping[str, int]  # by state


def ask(url: str) -> MonitorAnswer:
    """Return the answer of the monitor at `url`; raises Unanswered."""
    parts = urlsplit(url)
    tls = client_context(None, None, None) if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    try:
        with TimedConnection(parts.hostname or "", port, tls, TIMEOUT) as connection:
            connection.request("GET", parts.path or "/")
            response = connection.getresponse()
            body = response.read()
    except (OSError, HTTPException, ValueError) as error:
        raise Unanswered(f"no answer: {error}") from error
    if response.status != HTTPStatus.OK:
        raise Unanswered(f"answers with status {response.status}")
    return parse(body)


def parse(body: bytes) -> MonitorAnswer:
    """Return the answer; raises Unanswered if it is not that of a monitor."""
    try:
        answer: Any = json.loads(body)
        consuming, consumed = answer["consuming"], answer["consumed"]
        counts = {state: consumed[state] for state in STATES}
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise Unanswered("does not answer as fedora-messaging's monitor does") from error
    if type(consuming) is not bool or not all(map(_is_count, counts.values())):
        raise Unanswered("does not answer as fedora-messaging's monitor does")
    return MonitorAnswer(consuming, counts)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53
