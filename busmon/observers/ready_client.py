"""Asks the monitor of a listener: `/ready` of fedora-messaging 3.6 and later.

It answers 200 with `{"consuming": bool, "published": n, "consumed": {"received": n, …}}`,
whether the listener consumes or not (`[monitoring]` in the listener's TOML).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, build_opener

STATES = ("received", "processed", "dropped", "rejected", "failed")
TIMEOUT = 5.0  # seconds to connect, and for each part of the answer
MAX_ANSWER_BYTES = 64 * 1024  # an answer has about 150


class Unanswered(Exception):
    """The monitor gave no valid answer; the text says what happened."""


@dataclass(frozen=True, slots=True)
class MonitorAnswer:
    """Whether the listener is subscribed, and its counts since its start."""

    consuming: bool
    counts: Mapping[str, int]  # by state


class NoRedirect(HTTPRedirectHandler):
    """Follows no redirect: another server would answer."""

    def redirect_request(self, *_: object) -> None:
        """Refuse the redirect."""
        return


def ask(url: str) -> MonitorAnswer:
    """Return the answer of the monitor at `url`; raises Unanswered."""
    try:
        # Without a proxy: the monitor is in the same network.
        with build_opener(ProxyHandler({}), NoRedirect()).open(url, timeout=TIMEOUT) as response:
            body = response.read(MAX_ANSWER_BYTES + 1)
    except HTTPError as error:
        with error:
            raise Unanswered(f"answers with status {error.code}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise Unanswered(f"no answer: {getattr(error, 'reason', None) or error}") from error
    return parse(body)


def parse(body: bytes) -> MonitorAnswer:
    """Return the answer; raises Unanswered if it is not that of a monitor."""
    try:
        answer: Any = json.loads(body) if len(body) <= MAX_ANSWER_BYTES else None
        consuming, consumed = answer["consuming"], answer["consumed"]
        counts = {state: consumed[state] for state in STATES}
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise Unanswered("does not answer as fedora-messaging's monitor does") from error
    if type(consuming) is not bool or not all(map(_is_count, counts.values())):
        raise Unanswered("does not answer as fedora-messaging's monitor does")
    return MonitorAnswer(consuming, counts)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53
