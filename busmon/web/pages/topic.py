"""The page of one topic: its messages over time, what became of them, and how long they took."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from busmon.ledger.topics import TimeSum, TopicMessage
from busmon.message import Topic
from busmon.metrics.delays import Step, delay
from busmon.web.axes import DAY, HOUR
from busmon.web.pages import topics, values
from busmon.web.pages.graphs import topic_graph
from busmon.web.pages.page import NotFound, Request

NEWEST = 25  # messages that are shown
MEASURED = 200  # the newest handled messages, whose delays are shown


class Range(NamedTuple):
    """A range of time up to now."""

    title: str
    step: int  # seconds
    steps: int


RANGES = {
    "24h": Range("24 hours", HOUR, 24),
    "7d": Range("7 days", HOUR, 7 * 24),
    "13w": Range("13 weeks", DAY, 13 * 7),
    "13m": Range("13 months", DAY, 13 * 31),
}


def data(request: Request) -> dict[str, object]:
    """Return what is known of a topic. Raises NotFound and Malformed."""
    bus, _, name = request.rest.partition("/")
    topic, chosen = Topic(bus, name), values.choice(request, "range", RANGES) or "24h"
    if topic not in topics.known(request):
        raise NotFound(f"{bus}: no topic {name}")
    _, step, steps = RANGES[chosen]
    end = (int(request.now // step) + 1) * step
    times = range(end - steps * step, end, step)
    (described,) = topics.described(request, [topic])
    with request.read() as tables:
        sums = tables.topics.by_time(*topic, times.start // HOUR, end // HOUR, step // HOUR)
        newest = tables.topics.newest(*topic, NEWEST)
        measured = tables.topics.handled(*topic, MEASURED)
        graph = topic_graph(request, tables, topic, sums, times)
    return {
        "topic": described,
        "states": topics.STATES,
        "range": chosen,
        "ranges": {key: one.title for key, one in RANGES.items()},
        "graph": graph,
        "outcomes": _outcomes(sums),
        "delays": _delays(measured),
        "newest": [_message(one) for one in newest],
    }


def _outcomes(sums: Iterable[TimeSum]) -> list[dict[str, object]]:
    """Return the messages of the range by outcome and reason, the most first."""
    found: Counter[tuple[str, str]] = Counter()
    for _, outcome, reason, messages in sums:
        found[outcome, reason] += messages
    return [
        {"outcome": outcome, "reason": reason, "messages": messages}
        for (outcome, reason), messages in found.most_common()
    ]


def _delays(messages: Sequence[TopicMessage]) -> list[dict[str, object]]:
    """Return how many seconds these messages took from stage to stage, as far as is known."""
    found: dict[Step, list[float]] = {step: [] for step in Step}
    for one in messages:
        way = (one.sent_at, one.received_at, one.passed_at, one.started_at, one.finished_at)
        times = (*way, one.tree_finished_at)
        for step, before, after in zip(Step, times[:-1], times[1:], strict=True):
            if before is None or after is None or (taken := delay(after - before)) is None:
                continue
            found[step].append(taken)
    return [
        {
            "stage": step.value,
            "messages": len(seconds),
            "median": median(seconds),
            "slow": sorted(seconds)[int(0.95 * len(seconds))],
            "longest": max(seconds),
        }
        for step, seconds in found.items()
        if seconds
    ]


def _message(one: TopicMessage) -> dict[str, object]:
    return {
        "id": one.id,
        "outcome": one.outcome,
        "reason": one.reason,
        "filled": one.filled,
        "received_at": one.received_at,
        "sent_at": one.sent_at,
        "report": one.report,
        "task": one.task,
    }
