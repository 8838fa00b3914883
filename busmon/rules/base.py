"""What a rule book is made of: rules, what they can say, and how a message is judged."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from busmon.message import Judgement, Message, Outcome

Rule = Callable[[Message], str | None]  # None: handled; else a fixed slug, why not

HANDLED = Judgement(Outcome.HANDLED)
UNMAPPED = Judgement(Outcome.UNMAPPED)
RAISES = Judgement(Outcome.ERROR, "rule-raises")


def ignored(reason: str) -> Judgement:
    """Return the verdict of a message that the listener's filter drops."""
    return Judgement(Outcome.IGNORED, reason)


def always(_message: Message) -> None:
    """Rule of a topic whose every message is handled."""


class RuleSet(Protocol):
    """Judges messages of one bus as its listener would."""

    def judge(self, message: Message) -> Judgement:
        """Return the verdict; never raises."""

    def known_series(self) -> Iterator[tuple[str, Judgement]]:
        """Yield each topic with each verdict that its rule can give; any may also raise."""


@dataclass(frozen=True, slots=True)
class TopicRules:
    """A rule book of rules that are found by topic; None where the topic has no rule."""

    find: Callable[[str], Rule | None]
    verdicts: tuple[tuple[str, Judgement], ...] = ()

    def judge(self, message: Message) -> Judgement:
        """Return the verdict; what a rule raises would be the listener's death."""
        if message.rejected is not None:
            return message.rejected
        rule = self.find(message.topic)
        if rule is None:
            return UNMAPPED
        try:
            reason = rule(message)
        except Exception:  # noqa: BLE001 - the very point: whatever it raises is a verdict
            return RAISES
        return HANDLED if reason is None else ignored(reason)

    def known_series(self) -> Iterator[tuple[str, Judgement]]:
        """Yield each topic with each verdict that its rule can give; any may also raise."""
        return iter(self.verdicts)
