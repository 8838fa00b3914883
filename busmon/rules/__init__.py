"""Rules: what the listener would make of a message.

A rule book maps each topic that the listener knows to a rule. A rule is a function of
one message that returns None where the listener passes the message on, else a fixed
slug that says why not. A new book is one file here, one line in `BOOKS`, and its
name in busmon.settings.
"""

from collections.abc import Callable

from busmon.rules import centos, imported, packit
from busmon.rules.base import HANDLED, RAISES, UNMAPPED, Book, Rule, RuleBook, always, ignored
from busmon.settings.models import Rules

__all__ = ["BOOKS", "HANDLED", "RAISES", "UNMAPPED", "Rule", "RuleBook", "ignored", "rule_book"]

BOOKS: dict[str, Callable[[Rules], RuleBook]] = {
    "packit": lambda rules: packit.book(rules.packit),
    "centos": lambda _rules: centos.book(),
    "all": lambda _rules: Book(find=lambda _topic: always),  # for a bus without a listener
}


def rule_book(name: str, rules: Rules) -> RuleBook:
    """Return the book of that name, or the one around the listener's own `module:callable`.

    ValueError says what is wrong with the name, or why it can't be imported.
    """
    if name in BOOKS:
        return BOOKS[name](rules)
    if ":" in name:
        return imported.book(name, rules.packit.user)
    raise ValueError(f"should be {', '.join(BOOKS)} or module:callable, not {name!r}")
