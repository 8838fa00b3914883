"""Topics that have to come on the first day, when nothing is known yet of what is usual."""

from collections.abc import Iterable, Mapping

from busmon.message import Topic
from busmon.rules import RuleSet
from busmon.settings.silence import Silence
from busmon.silence.rates import DAY_SECONDS
from busmon.silence.state import setting_of
from busmon.sources.bus import Subscription

WITHIN_SECONDS = DAY_SECONDS  # of the busiest topics, without a setting


class ExpectedTopics:
    """Which topics these are, by `[silence] expected_topics`, or the busiest of the rules.

    `subscriptions` are those of the buses of which they are known.
    """

    def __init__(
        self,
        settings: Silence,
        rule_sets: Mapping[str, RuleSet],
        subscriptions: Mapping[str, Subscription],
    ) -> None:
        self._subscriptions = subscriptions
        given = settings.expected_topics
        self._within: dict[str, Mapping[str, float]] = {
            bus: dict.fromkeys(rules.busiest(), WITHIN_SECONDS) if given is None else given
            for bus, rules in rule_sets.items()
        }
        self.known = {
            topic: within
            for bus, rules in rule_sets.items()
            for topic in self._candidates(bus, {name for name, _ in rules.known_series()})
            if (within := self.within(topic)) is not None
        }  # by name, so that they are missed if they never come; with their times in seconds

    def within(self, topic: Topic) -> float | None:
        """Return within how many seconds a topic has to come; None if it does not have to."""
        found = setting_of(topic.name, self._within.get(topic.bus, {}))
        if found is None or not self._subscriptions.get(topic.bus, _any)(topic.name):
            return None
        return found

    def _candidates(self, bus: str, known: Iterable[str]) -> set[Topic]:
        """Return the topics of a bus whose names are known beforehand.

        What is set for a name that the rules do not know is of the buses that subscribe to it.
        """
        names = {*known, *(self._within[bus] if bus in self._subscriptions else ())}
        return {Topic(bus, name) for name in names if not {"*", "?", "["} & set(name)}


def _any(_topic: str) -> bool:
    return True
