"""What a rule set is made of: rules, their judgements, and how a message is judged."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from busmon.message import Judgement, Message, Outcome

Rule = Callable[[Message], str | None]  # None: handled; else a fixed slug that says why not

HANDLED = Judgement(Outcome.HANDLED)
UNMAPPED = Judgement(Outcome.UNMAPPED)
RAISES = Judgement(Outcome.ERROR, "rule-raises")


def ignored(reason: str) -> Judgement:
    """Return the judgement of a message that the listener's filter drops."""
    return Judgement(Outcome.IGNORED, reason)


def always(_message: Message) -> None:
    """Handle every message of a topic."""


class RuleSet(Protocol):
    """Judges messages of one bus as its listener would."""

    def judge(self, message: Message) -> Judgement:
        """Return the judgement; never raises."""

    def unreadable(self, why: Judgement) -> Judgement:
        """Return the judgement of a message whose body cannot be read: see `Message`."""

    def known_series(self) -> Iterator[tuple[str, Judgement]]:
        """Yield each known topic with each judgement of its rule, except that it may raise."""

    def busiest(self) -> Iterator[str]:
        """Yield the topics that come many times every day, also at weekends and on holidays."""


@dataclass(frozen=True, slots=True)
class TopicRules:
    """A rule set that finds the rule by topic; `find` returns None if the topic has no rule."""

    find: Callable[[str], Rule | None]
    judgements: tuple[tuple[str, Judgement], ...] = ()
    busy: tuple[str, ...] = ()

    def judge(self, message: Message) -> Judgement:
        """Return the judgement. If the rule raises, the listener would die."""
        if message.rejected is not None:
            return message.rejected
        if message.unreadable is not None:
            return self.unreadable(message.unreadable)
        rule = self.find(message.topic)
        if rule is None:
            return UNMAPPED
        try:
            reason = rule(message)
        except Exception:  # noqa: BLE001 - whatever it raises is a judgement
            return RAISES
        return HANDLED if reason is None else ignored(reason)

    def unreadable(self, why: Judgement) -> Judgement:
        """Return what it is: the listener never sees such a message."""
        return why

    def known_series(self) -> Iterator[tuple[str, Judgement]]:
        """Yield each known topic with each judgement of its rule, except that it may raise."""
        return iter(self.judgements)

    def busiest(self) -> Iterator[str]:
        """Yield the topics that come many times every day, also at weekends and on holidays."""
        return iter(self.busy)
