"""The weeks before the demo: what was usual, as an archive has it, and an incident with a gap."""

import math
from collections.abc import Sequence
from random import Random
from uuid import UUID

from busmon.demo.bodies import Share
from busmon.ledger.archive import Span
from busmon.ledger.incidents import Incident
from busmon.ledger.ledger import Ledger
from busmon.ledger.messages import MessageTrace
from busmon.ledger.open_messages import OpenMessage, State
from busmon.ledger.tables import Tables
from busmon.message import Stage
from busmon.rules.packit import FEDORA

HOUR = 3600
HOURS = 6 * 7 * 24
LOST = FEDORA + "copr.build.end"
LOST_MESSAGES = 3
INCIDENT_HOURS = 26  # since the listener was away, for half an hour
EVIDENCE = ("the listener's queue was gone: nobody received what the bus delivered",)


def write(ledger: Ledger, bus: str, shares: Sequence[Share], rate: float, now: float) -> None:
    """Write what was usual on a bus with so many messages a second; `now` is a Unix time."""
    total = sum(share.weight for share in shares)
    end = int(now // HOUR)
    hours = Span(end - HOURS, end)
    rng = Random(bus)  # noqa: S311 - a demonstration, not a secret
    with ledger.write() as tables:
        for share in shares:
            hourly = HOUR * rate * share.weight / total
            sums = {
                hour: round(hourly * _pace(hour) * rng.uniform(0.7, 1.3)) for hour in range(*hours)
            }
            tables.archive_sums.add_before(bus, share.topic, hours, sums)


def write_incident(ledger: Ledger, bus: str, now: float) -> None:
    """Write that the listener was away, and that some messages are lost since."""
    began = now - INCIDENT_HOURS * HOUR
    ended = began + HOUR / 2
    incident = Incident(bus, "listener", began, ended, ended, 0.0, EVIDENCE, EVIDENCE)
    with ledger.write() as tables:
        tables.incidents.save([incident])
        _lose(tables, bus, began // 300 * 300)


def _lose(tables: Tables, bus: str, start: float) -> None:
    ids = (str(UUID(int=number, version=4)) for number in range(LOST_MESSAGES))
    traces = (MessageTrace(one, LOST, True, received_at=start + 60) for one in ids)
    tables.open_messages.add(
        OpenMessage(start, start + 300, bus, Stage.LISTENER, State.MISSING, trace)
        for trace in traces
    )


def _pace(hour: int) -> float:
    """Return how busy an hour is: less at night and on weekends."""
    weekend = hour // 24 % 7 in {2, 3}  # Unix time began on a Thursday
    return (0.4 if weekend else 1.0) * (1 + 0.5 * math.sin((hour % 24 - 7) * math.pi / 12))
