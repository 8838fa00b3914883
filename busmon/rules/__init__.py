"""Rules: what the listener would make of a message.

A rule book maps each topic that the listener knows to a rule. A rule is a function of
one message that returns None where the listener passes the message on, else a fixed
slug that says why not. A new book is one file here and one line in `BOOKS`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from busmon.message import Message, Outcome, Verdict

Rule = Callable[[Message], str | None]

HANDLED = Verdict(Outcome.HANDLED)
UNMAPPED = Verdict(Outcome.UNMAPPED)
RAISES = Verdict(Outcome.ERROR, "rule-raises")


@dataclass(frozen=True, slots=True)
class Entry:
    """A topic's rule and every reason that it can give."""

    rule: Rule
    reasons: tuple[str, ...] = ()


class RuleBook(Protocol):
    """Judges messages of one bus as its listener would."""

    def judge(self, message: Message) -> Verdict:
        """Return the verdict; never raises."""

    def known(self) -> Iterator[tuple[str, Verdict]]:
        """Yield each topic with each verdict that the rules can give on it."""
