"""`busmon status`: ask a running busmon for its verdicts.

The endpoint is `/v1/status`; it takes the credentials of `/metrics`.
"""

import json
from typing import Any

from busmon.commands.endpoint import Endpoint, NoAnswer, get
from busmon.diagnosis.verdict import FaultKind, Verdict

LAST_TIME = 253_402_300_800  # Unix time of the end of the year 9999


def fetch_verdicts(endpoint: Endpoint) -> dict[str, Verdict]:
    """Return the verdict of the busmon that serves there on each bus; raises NoAnswer."""
    status, body = get(endpoint, "/v1/status")
    if status in (401, 403):
        raise NoAnswer(
            f"refused (status {status}): give its configuration with -c, for credentials"
        )
    if status != 200:
        raise NoAnswer(f"answered with status {status}")
    return _parse(body)


def _parse(body: bytes) -> dict[str, Verdict]:
    try:
        answer: Any = json.loads(body)
        return {bus: _verdict(**verdict) for bus, verdict in answer["buses"].items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise NoAnswer("the answer is not that of a busmon") from error


def _verdict(kind: str, evidence: list[str], since: float | None) -> Verdict:
    if since is not None and not 0 <= float(since) < LAST_TIME:
        raise ValueError("no time")
    return Verdict(FaultKind(kind), tuple(map(str, evidence)), since)
