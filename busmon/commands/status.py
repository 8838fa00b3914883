"""`busmon status`: ask a running busmon for its verdicts.

The endpoint is `/v1/status`; it takes the credentials of `/metrics`.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from busmon.commands import service
from busmon.commands.endpoint import FOREIGN, Endpoint, NoAnswer, Refused
from busmon.diagnosis.verdict import FaultKind, Verdict
from busmon.settings.units import LAST_TIME


class Status(NamedTuple):
    """What a busmon says."""

    verdicts: Mapping[str, Verdict]  # by bus
    lost: Mapping[str, int]  # messages in open gaps of buses that are no longer configured


def fetch_status(endpoint: Endpoint) -> Status:
    """Return what the busmon says that serves there; raises NoAnswer."""
    try:
        return _parse(service.ask(endpoint, "/v1/status", {}))
    except Refused as error:
        raise NoAnswer(str(error)) from error


def _parse(answer: Any) -> Status:
    try:
        verdicts = {bus: _verdict(**verdict) for bus, verdict in answer["buses"].items()}
        lost = Counter[str]()
        for gap in answer["open_gaps"]:
            lost[gap["bus"]] += int(gap["messages"])
        return Status(verdicts, {bus: lost[bus] for bus in lost if bus not in verdicts})
    except service.UNREADABLE as error:
        raise NoAnswer(FOREIGN) from error


def _verdict(kind: str, evidence: list[str], since: float | None) -> Verdict:
    if since is not None and not 0 <= float(since) < LAST_TIME:
        raise ValueError("no time")
    return Verdict(FaultKind(kind), tuple(map(str, evidence)), since)
