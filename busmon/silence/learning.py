"""Learns what is usual for all topics of a bus together: pure, the same for service and tests."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from busmon.message import Topic
from busmon.silence.baseline import Baseline, learn, to_learn_from
from busmon.silence.deficit import Deficit, is_learned, low_limit, replay
from busmon.silence.histories import Counts
from busmon.silence.pace import common_pace
from busmon.silence.rates import HOUR_SECONDS, Hour
from busmon.silence.spread import Spread, spread
from busmon.silence.state import Volume

NO_DEFICIT = Deficit(-1)


@dataclass(frozen=True, slots=True)
class Learned:
    """What is usual for a topic, and what it lacks."""

    baseline: Baseline
    deficit: Deficit  # of whole hours; its days are what is on record
    low_limit: float | None  # messages
    spread: Spread

    @property
    def volume(self) -> Volume | None:
        """What lacks, and how much may; None if that is not known."""
        if self.low_limit is None or self.baseline.campaigns:
            return None
        return Volume(self.deficit.messages, self.low_limit)

    def usual(
        self, since: float, until: float, unseen: Iterable[tuple[float, float]] = ()
    ) -> tuple[float, float]:
        """Return between which numbers of messages a time usually is: an hour, or more."""
        expected = self.expected(since, until, unseen)
        low, high = self.spread.hour if until - since <= HOUR_SECONDS else self.spread.day
        return low * expected, high * expected

    def expected(
        self, since: float, until: float, unseen: Iterable[tuple[float, float]] = ()
    ) -> float:
        """Return how many messages a time usually has, without those of what nobody watched."""
        rates = self.baseline.rates
        missed = ((max(begin, since), min(end, until)) for begin, end in unseen)
        return rates.expected(since, until) - sum(
            rates.expected(begin, end) for begin, end in missed if begin < end
        )

    def at_least(self, pace: float) -> "Learned":
        """Return it at this pace, unless its own is faster."""
        faster = max(pace, self.baseline.pace)
        return replace(self, baseline=replace(self.baseline, pace=faster))

    def without_days(self) -> "Learned":
        """Return it without the days, which are on record."""
        return replace(self, deficit=replace(self.deficit, highest=None))


def learn_topic(
    history: list[Hour], pauses: Mapping[int, float], deficit: Deficit
) -> Learned | None:
    """Return what is usual for a topic; None if there is too little history.

    `history` has no gaps and ends with the current hour. `pauses` and `deficit` are on record.
    """
    baseline = learn(history, pauses)
    if baseline is None:
        return None
    known = to_learn_from(history)
    highest = dict(deficit.highest or {})
    if not is_learned(highest):
        first = known[0].hour
        replayed = replay((hour for hour in history[:-1] if hour.hour >= first), baseline.rates)
        days = replayed.highest or {}
        highest = {**days, **highest}
        if deficit is NO_DEFICIT:
            today = replayed.hour // 24
            deficit = replace(replayed, highest={today: days.get(today)})
    limit = low_limit(highest, baseline.rates)
    return Learned(baseline, deficit, limit, spread(known, baseline.rates))


def at_pace_of_bus(
    topics: Mapping[str, Learned], hours_after: Callable[[str, int], Iterable[Hour]]
) -> dict[str, Learned]:
    """Return what is learned of the topics of a bus, at the pace of the bus if that is slower.

    `hours_after` returns the whole hours of a topic after one; what lacks in them is added.
    """
    pace = common_pace([learned.baseline.recent for learned in topics.values()])
    found = {}
    for name, learned in topics.items():
        slower = replace(learned.baseline, pace=min(learned.baseline.pace, pace))
        deficit = learned.deficit
        if learned.low_limit is not None:
            hours = hours_after(name, deficit.hour)
            deficit = deficit.after(hours, slower.rates, pace, learned.low_limit)
        found[name] = replace(learned, baseline=slower, deficit=deficit)
    return found


def at_pace(
    bus: str,
    learned: Mapping[Topic, Learned],
    counts: Mapping[Topic, Counts],
    blind: Mapping[int, float],
    now: float,
) -> dict[Topic, Learned]:
    """Return what is learned of the topics of a bus, at its pace."""

    def hours_after(name: str, hour: int) -> list[Hour]:
        return list(counts[Topic(bus, name)].until(now, blind, hour))[:-1]

    of_bus = {topic.name: one for topic, one in learned.items() if topic.bus == bus}
    return {Topic(bus, name): one for name, one in at_pace_of_bus(of_bus, hours_after).items()}
