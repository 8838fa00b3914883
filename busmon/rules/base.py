"""What a rule book is made of: rules, what they can say, and how a message is judged."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from busmon.message import Message, Outcome, Verdict

Rule = Callable[[Message], str | None]  # None: handled; else a fixed slug, why not

HANDLED = Verdict(Outcome.HANDLED)
UNMAPPED = Verdict(Outcome.UNMAPPED)
RAISES = Verdict(Outcome.ERROR, "rule-raises")


def ignored(reason: str) -> Verdict:
    """Return the verdict of a message that the listener's filter drops."""
    return Verdict(Outcome.IGNORED, reason)


def always(_message: Message) -> None:
    """Rule of a topic whose every message is handled."""


class RuleBook(Protocol):
    """Judges messages of one bus as its listener would."""

    def judge(self, message: Message) -> Verdict:
        """Return the verdict; never raises."""

    def known(self) -> Iterator[tuple[str, Verdict]]:
        """Yield each topic with each verdict that its rule can give; any may also raise."""


@dataclass(frozen=True, slots=True)
class Book:
    """A rule book of rules that are found by topic; None where the topic has no rule."""

    find: Callable[[str], Rule | None]
    verdicts: tuple[tuple[str, Verdict], ...] = ()

    def judge(self, message: Message) -> Verdict:
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

    def known(self) -> Iterator[tuple[str, Verdict]]:
        """Yield each topic with each verdict that its rule can give; any may also raise."""
        return iter(self.verdicts)
