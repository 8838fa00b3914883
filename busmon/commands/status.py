"""`busmon status`: ask a running busmon for its verdicts.

The endpoint is `/v1/status`; it takes the credentials of `/metrics`.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from busmon.commands.endpoint import Endpoint, NoAnswer, get
from busmon.diagnosis.verdict import FaultKind, Verdict

LAST_TIME = 253_402_300_800  # Unix time of the end of the year 9999


class Status(NamedTuple):
    """What a busmon says."""

    verdicts: Mapping[str, Verdict]  # by bus
    lost: Mapping[str, int]  # messages in open gaps of buses that are no longer configured


def fetch_status(endpoint: Endpoint) -> Status:
    """Return what the busmon says that serves there; raises NoAnswer."""
    status, body = get(endpoint, "/v1/status")
    if status in (401, 403):
        raise NoAnswer(f"refused (status {status}): -c must name its own configuration")
    if status != 200:
        raise NoAnswer(f"answered with status {status}")
    return _parse(body)


def _parse(body: bytes) -> Status:
    try:
        answer: Any = json.loads(body)
        verdicts = {bus: _verdict(**verdict) for bus, verdict in answer["buses"].items()}
        lost = Counter[str]()
        for gap in answer["open_gaps"]:
            lost[gap["bus"]] += int(gap["messages"])
        return Status(verdicts, {bus: lost[bus] for bus in lost if bus not in verdicts})
    except (
        ArithmeticError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise NoAnswer("the answer is not that of a busmon") from error


def _verdict(kind: str, evidence: list[str], since: float | None) -> Verdict:
    if since is not None and not 0 <= float(since) < LAST_TIME:
        raise ValueError("no time")
    return Verdict(FaultKind(kind), tuple(map(str, evidence)), since)
