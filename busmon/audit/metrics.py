"""The metrics of the audit. Each function returns one family, from values in memory.

Every series of a known topic exists from the start, at zero.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import Metric

from busmon.audit.ages import AGES, OLDER
from busmon.audit.scope import Scopes
from busmon.ledger.gaps import OpenGap
from busmon.ledger.windows import Place, Totals
from busmon.message import Stage
from busmon.metrics.families import counter, gauge

Topics = Mapping[tuple[str, str], bool]  # by bus and topic: whether any message is handled
AllTotals = Mapping[Place, Totals]


def audit_metrics(
    scopes: Scopes, topics: Topics, totals: AllTotals, closed_until: float | None
) -> Iterator[Metric]:
    """Yield every metric of the audit."""
    places = list(_places(scopes, topics))
    # All have the same series, so that one can be subtracted from the other.
    behind_bus = list(_gap_places(scopes, topics))
    yield _messages(totals, places)
    yield _missing(totals, behind_bus)
    yield _recovered(totals, behind_bus)
    yield _expired(totals, behind_bus)
    yield _unexpected(totals, scopes, topics)
    yield _no_data_windows(totals, scopes)
    yield _last_closed(closed_until)


def gap_metrics(
    scopes: Scopes,
    topics: Topics,
    totals: AllTotals,
    open_gaps: Mapping[Place, OpenGap],
    unconfirmed: Mapping[tuple[str, Stage], int],
) -> Iterator[Metric]:
    """Yield the metrics of messages that are open now."""
    # A gap of a bus or stage that is no longer audited can be accepted, too: then it is at zero.
    known = [*_gap_places(scopes, topics), *(place for place, of in totals.items() if of.missing)]
    messages = {place: gap.messages for place, gap in open_gaps.items()}
    yield gauge(
        "busmon_open_gap_messages",
        "Messages that are missing at the stage: not recovered, not accepted, not expired.",
        ["bus", "topic", "stage"],
        (dict.fromkeys(known, 0) | messages).items(),
    )
    yield _oldest_gap(open_gaps)
    stages = ((bus, stage) for bus, scope in scopes.items() for stage in scope.observers)
    yield gauge(
        "busmon_unconfirmed_messages",
        "Messages of which it is not known whether they reached the stage.",
        ["bus", "stage"],
        (dict.fromkeys(stages, 0) | dict(unconfirmed)).items(),
    )


def age_metric(scopes: Scopes, by_age: Mapping[tuple[str, Stage], Mapping[str, int]]) -> Metric:
    """Return the metric of how old the open gaps are."""
    stages = ((bus, stage) for bus, scope in scopes.items() for stage in scope.gap_stages)
    none = dict.fromkeys((*AGES, OLDER), 0)
    return gauge(
        "busmon_open_gap_age_messages",
        "Messages that are missing at the stage, by the age of their window. Each has one age.",
        ["bus", "stage", "age"],
        (
            ((*place, age), number)
            for place, ages in (dict.fromkeys(stages, none) | dict(by_age)).items()
            for age, number in ages.items()
        ),
    )


def _oldest_gap(open_gaps: Mapping[Place, OpenGap]) -> Metric:
    oldest: dict[tuple[str, Stage], float] = {}
    for place, gap in open_gaps.items():
        key = place.bus, place.stage
        oldest[key] = min(gap.oldest, oldest.get(key, gap.oldest))
    return gauge(
        "busmon_open_gap_oldest_timestamp_seconds",
        "Unix time at which the oldest window with missing messages began. No series if none is.",
        ["bus", "stage"],
        oldest.items(),
    )


def _places(scopes: Scopes, topics: Topics) -> Iterator[Place]:
    """Yield where messages are expected."""
    for (bus, topic), handled in topics.items():
        if handled:
            for stage in scopes[bus].stages:
                yield Place(bus, topic, stage)


def _gap_places(scopes: Scopes, topics: Topics) -> Iterator[Place]:
    """Yield where messages can be missing."""
    for (bus, topic), handled in topics.items():
        if handled:
            for stage in scopes[bus].gap_stages:
                yield Place(bus, topic, stage)


def _messages(totals: AllTotals, known: Iterable[Place]) -> Metric:
    text = "Messages of closed windows that should be handled and reached the stage."
    return _counter("messages", text, totals, known)


def _missing(totals: AllTotals, known: Iterable[Place]) -> Metric:
    text = "Messages of closed windows that reached the stage before, but not this one."
    return _counter("missing", text, totals, known)


def _recovered(totals: AllTotals, known: Iterable[Place]) -> Metric:
    text = "Missing messages that reached the stage later."
    return _counter("recovered", text, totals, known)


def _expired(totals: AllTotals, known: Iterable[Place]) -> Metric:
    text = "Messages that were missing for 13 months, and no longer count as an open gap."
    return _counter("expired", text, totals, known)


def _unexpected(totals: AllTotals, scopes: Scopes, topics: Topics) -> Metric:
    text = "Messages of closed windows that the rules ignore, but the listener passed on."
    known = (
        Place(bus, topic, Stage.LISTENER)
        for bus, topic in topics
        if Stage.LISTENER in scopes[bus].stages
    )
    return _counter("unexpected", text, totals, known)


def _no_data_windows(totals: AllTotals, scopes: Scopes) -> Metric:
    return counter(
        "busmon_audit_no_data_windows_total",
        "Closed windows in which the stage was not watched all the time: no message is missing.",
        ["bus", "stage"],
        (
            ((bus, stage), totals.get(Place(bus, "", stage), Totals()).no_data)
            for bus, scope in scopes.items()
            for stage in scope.stages
        ),
    )


def _last_closed(closed_until: float | None) -> Metric:
    return gauge(
        "busmon_audit_last_closed_timestamp_seconds",
        "Unix time at which the last closed window ended.",
        [],
        [] if closed_until is None else [((), closed_until)],
    )


def _counter(name: str, text: str, totals: AllTotals, known: Iterable[Place]) -> Metric:
    """Return the counter of that field of the totals: the known series, and all others above 0."""
    counts = {place: getattr(of, name) for place, of in totals.items()}
    values = dict.fromkeys(known, 0) | {place: n for place, n in counts.items() if n}
    return counter(f"busmon_audit_{name}_total", text, ["bus", "topic", "stage"], values.items())
