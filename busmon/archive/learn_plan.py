"""What to ask an archive next, to know the hourly counts of topics: pure functions.

Newest weeks come first. A quiet topic is asked for days at once, and the hours of its messages
are counted here; a busy one is asked for the number of each hour.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from busmon.archive.client import MAX_ROWS, Found
from busmon.ledger.archive import Span

AIM = 80  # messages of one answer, so that it seldom has more than MAX_ROWS
FIRST_HOURS = 24
MAX_HOURS = 168  # Datagrepper takes seconds to find a rare topic in a longer time
HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Step:
    """A question: what of this topic was sent in these hours."""

    topic: str
    hours: Span


def next_step(
    topics: Iterable[str],
    known: Mapping[str, Span],
    target: Span,
    sizes: Mapping[str, int],
    failures: Mapping[str, int],
) -> Step | None:
    """Return the next question, or None if all hours from `target.since` on are known.

    A topic of which nothing is known begins at `target.until`. `sizes` are the hours to ask for
    at once. The topic whose requests failed most often in a row comes last, so that it does not
    hold up the others.
    """
    since = {topic: known[topic].since if topic in known else target.until for topic in topics}
    open_ = [topic for topic in since if since[topic] > target.since]
    if not open_:
        return None
    topic = max(open_, key=lambda one: (-failures.get(one, 0), since[one], one))
    first = max(target.since, since[topic] - sizes.get(topic, FIRST_HOURS))
    return Step(topic, Span(first, since[topic]))


def sums(step: Step, found: Found) -> dict[int, int] | None:
    """Return the messages of each hour; None if the answer does not have them all."""
    first, end = step.hours
    if end - first == 1:
        return {first: found.total}
    if found.total > MAX_ROWS or any(one.sent_at is None for one in found.messages):
        return None
    return Counter(int((one.sent_at or 0.0) // HOUR_SECONDS) for one in found.messages)


def next_size(step: Step, found: Found) -> int:
    """Return how many hours of this topic to ask for the next time."""
    hours = step.hours.until - step.hours.since
    size = hours * AIM // found.total if found.total else 2 * hours
    if found.total <= MAX_ROWS and sums(step, found) is None:
        size = hours // 2  # the time of a message is not known
    return min(MAX_HOURS, max(1, size))


def done(topics: Iterable[str], known: Mapping[str, Span], target: Span) -> tuple[int, int]:
    """Return how many hours of all topics are known, and of how many there are."""
    names = list(topics)
    hours = target.until - target.since
    since = (known[topic].since if topic in known else target.until for topic in names)
    left = sum(min(hours, max(0, first - target.since)) for first in since)
    return hours * len(names) - left, hours * len(names)
