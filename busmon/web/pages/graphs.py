"""The graphs of the pages: the last day of each bus, and a topic over a range of time."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from busmon.diagnosis.incident_text import lasts
from busmon.ledger.filled import FillState
from busmon.ledger.incidents import Incident
from busmon.ledger.tables import Tables
from busmon.ledger.topics import TimeSum
from busmon.message import Outcome, Stage, Topic
from busmon.web.axes import HOUR
from busmon.web.graph import Band, Graph, Line, Shade
from busmon.web.pages.page import Request

DAY_HOURS = 24
MAX_SHADES = 200  # of a kind: spans with less between them than that part of the time are one
FILLED = {FillState.FILLED, FillState.PARTLY}
LINES = {Stage.LISTENER: "passed on", Stage.WORKER: "finished"}

Span = tuple[float, float]  # Unix times


def bus_graphs(request: Request, tables: Tables) -> dict[str, Graph]:
    """Return for each bus what was to be handled in the last 24 hours, and what of it was."""
    end = int(request.now // HOUR) + 1
    hours = range(end - DAY_HOURS, end)
    handled = tables.topics.handled_by_hour(hours.start, end)
    reached = _reached(tables, hours)
    return {
        bus: Graph(
            title=f"{bus}: messages by hour",
            start=hours.start * HOUR,
            step=HOUR,
            now=request.now,
            bars=Line(
                name="to be handled",
                kind="bus",
                values=[handled.get((bus, hour), 0) for hour in hours],
            ),
            lines=[
                Line(name=name, kind=stage.value, values=reached[bus, stage])
                for stage, name in LINES.items()
                if (bus, stage) in reached
            ],
            band=None,
            shades=shades(request, tables, bus, hours.start * HOUR),
        )
        for bus in request.service.parts.connections
    }


def topic_graph(
    request: Request, tables: Tables, topic: Topic, sums: Iterable[TimeSum], times: range
) -> Graph:
    """Return what came of a topic; `times` are the Unix times at which the steps begin.

    The times of the sums count steps.
    """
    step, messages, handled = times.step, Counter[int](), Counter[int]()
    first = tables.topics.begun() or 0.0
    for one in sums:
        messages[one.time * step] += one.messages
        handled[one.time * step] += one.messages if one.outcome == Outcome.HANDLED else 0

    archived = tables.topics.archived(topic, times.start // HOUR, times.stop // HOUR, step // HOUR)

    def line(name: str, kind: str, counts: Mapping[int, int]) -> Line:
        known = (counts[at] if at + step > first else None for at in times)
        return Line(name=name, kind=kind, values=list(known))

    return Graph(
        title=f"{topic.name}: messages by {'hour' if step == HOUR else 'day'}",
        start=times.start,
        step=step,
        now=request.now,
        bars=line("messages", "bus", messages),
        lines=[
            *([line("handled", "handled", handled)] if any(handled.values()) else []),
            *([_archived(archived, times)] if archived else []),
        ],
        band=_usual(request, topic, times),
        shades=shades(request, tables, topic.bus, times.start),
    )


def shades(request: Request, tables: Tables, bus: str, since: float) -> list[Shade]:
    """Return the blind times and the incidents of a bus from then on."""
    blind: Sequence[Span] = ()
    if bus in request.service.parts.connections:
        reception = request.service.parts.blind_time.reception(bus)
        blind = reception.blind_between(since, request.now)
    incidents = [(one.began, _end(one, request.now)) for one in tables.incidents.listed(since, bus)]
    filled = [(one.since, one.until) for one in tables.filled.fills(bus) if one.state in FILLED]
    kinds = {
        "blind": ("blind time", blind),
        "filled": ("filled from the archive", filled),
        "incident": ("incident", incidents),
    }
    return [
        Shade(name=name, kind=kind, since=begin, until=end)
        for kind, (name, spans) in kinds.items()
        for begin, end in merged(spans, since, request.now)
    ]


def merged(spans: Iterable[Span], since: float, until: float) -> list[Span]:
    """Return what of these spans is between two times, as at most `MAX_SHADES` spans."""
    between = (until - since) / MAX_SHADES
    found: list[Span] = []
    for begin, end in sorted(spans):
        if end <= since or begin >= until:
            continue
        span = max(begin, since), min(end, until)
        if found and span[0] - found[-1][1] < between:
            span = found[-1][0], max(found.pop()[1], span[1])
        found.append(span)
    return found


def _reached(tables: Tables, hours: range) -> Mapping[tuple[str, Stage], list[int | None]]:
    """Return what reached each bus and stage that has any window in these hours.

    None for an hour without all data, or of which not all windows are closed.
    """
    closed = int((tables.windows.closed_until() or 0.0) // HOUR)
    found: dict[tuple[str, Stage], dict[int, int | None]] = {}
    for bus, stage, hour, messages in tables.topics.reached(hours.start, hours.stop):
        found.setdefault((bus, Stage(stage)), {})[hour] = messages
    return {
        place: [known.get(hour, 0) if hour < closed else None for hour in hours]
        for place, known in found.items()
        if any(known.values())
    }


def _archived(sums: Mapping[int, int], times: range) -> Line:
    """Return what an archive has, from the first to the last step of which it has any."""
    first, last = min(sums), max(sums)
    steps = (at // times.step for at in times)
    known = [sums.get(step, 0) if first <= step <= last else None for step in steps]
    return Line(name="in the archive", kind="archive", values=known)


def _usual(request: Request, topic: Topic, times: range) -> Band | None:
    learned = request.service.parts.silence.learned(topic)
    if learned is None:
        return None
    usual = [learned.usual(at, at + times.step) for at in times]
    return Band(name="usual", low=[low for low, _ in usual], high=[high for _, high in usual])


def _end(one: Incident, now: float) -> float:
    if lasts(one, now):
        return max(now, one.seen)
    return one.seen if one.ended is None else one.ended
