"""What was learned from an archive of the hours that busmon did not watch."""

from collections.abc import Mapping

from busmon.ledger.archive import Span
from busmon.ledger.tables import Tables

BUSY = 10  # messages an hour of all topics: with that many, an hour without any is a hole


class ArchivedHours:
    """Which hours of a topic count as the archive has them.

    Where busmon watched, its own counts are right. `blind` are the seconds of hours in which it
    was blind, by bus; of the hours before its first message nothing is known.
    """

    def __init__(
        self, tables: Tables, blind: Mapping[str, Mapping[int, float]], now: float
    ) -> None:
        sums = tables.archive_sums
        oldest = sums.oldest() or 0
        self._blind = blind
        self._spans = {
            place: Span(max(span.since, oldest), span.until)
            for place, span in sums.spans().items()
            if place[0] in blind and span.until > oldest
        }
        buses = {bus for bus, _ in self._spans}
        counted = {bus: tables.hourly_sums.first(bus) for bus in buses}
        end = int(now // 3600) + 1
        self._first = {bus: end if hour is None else hour for bus, hour in counted.items()}
        totals = sums.totals() if buses else {}
        self._holes = {bus: self._holes_of(bus, totals.get(bus, {})) for bus in buses}

    def replaces(self, topic: tuple[str, str], hour: int) -> bool:
        """Return whether the archive knows this hour, and busmon did not watch all of it."""
        span = self._spans.get(topic)
        if span is None or not span.since <= hour < span.until:
            return False
        bus = topic[0]
        return hour <= self._first[bus] or self._blind[bus].get(hour, 0.0) > 0

    def watched(self, topic: tuple[str, str]) -> dict[int, float]:
        """Return which fraction of hours is known, if that does not depend on blind times."""
        span = self._spans.get(topic)
        if span is None:
            return {}
        bus = topic[0]
        first, holes = self._first[bus], self._holes[bus]
        found = dict.fromkeys(range(span.until, first), 0.0)
        for hour in range(*span):
            if self.replaces(topic, hour) and not (hour in holes and hour >= first):
                found[hour] = 0.0 if hour in holes else 1.0
        return found

    def _holes_of(self, bus: str, totals: Mapping[int, int]) -> set[int]:
        """Return the hours in which the archive itself was away."""
        spans = [span for (of, _), span in self._spans.items() if of == bus]
        common = range(max(span.since for span in spans), min(span.until for span in spans))
        messages = sum(totals.get(hour, 0) for hour in common)
        if messages < BUSY * len(common):
            return set()
        return {hour for hour in common if hour not in totals}
