"""How many messages came recently, and how many are usual."""

from collections import Counter

from busmon.ledger.tables import Tables
from busmon.web.axes import HOUR
from busmon.web.pages.page import Request

HOURS = 2  # the last whole one, and the one that is not over


def bus_rates(request: Request, tables: Tables) -> dict[str, dict[str, float | None]]:
    """Return for each bus since when how many messages came, and how many are usual.

    The last is without those that busmon could not see; None if no topic has a baseline.
    """
    end = int(request.now // HOUR) + 1
    since = (end - HOURS) * HOUR
    messages, usual = Counter[str](), dict[str, float]()
    for one in tables.topics.recent(end - HOURS, end):
        messages[one.bus] += one.messages
    begun = tables.topics.begun() or end * HOUR
    missed = {bus: unseen(request, bus, since, begun) for bus in request.service.parts.connections}
    for topic in request.silence:
        if learned := request.service.parts.silence.learned(topic):
            expected = learned.expected(since, request.now, missed[topic.bus])
            usual[topic.bus] = usual.get(topic.bus, 0.0) + expected
    return {
        bus: {"since": since, "messages": messages[bus], "usual": usual.get(bus)}
        for bus in request.service.parts.connections
    }


def unseen(request: Request, bus: str, since: float, begun: float) -> list[tuple[float, float]]:
    """Return when busmon did not watch a bus from `since` on: before it had begun, and blind."""
    reception = request.service.parts.blind_time.reception(bus)
    blind = reception.blind_between(since, request.now)
    return [(0.0, begun), *((max(begin, begun), end) for begin, end in blind)]
