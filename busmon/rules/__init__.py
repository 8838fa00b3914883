"""Rules: what the listener would make of a message.

A rule book maps each topic that the listener knows to a rule. A rule is a function of
one message that returns None where the listener passes the message on, else a fixed
slug that says why not. A new book is one file here, one line in `BOOKS`, and its
name in busmon.settings.
"""

from collections.abc import Callable

from busmon.rules import centos, imported, packit
from busmon.rules.base import HANDLED, RAISES, UNMAPPED, Rule, RuleSet, TopicRules, always, ignored
from busmon.settings.models import Rules

__all__ = ["HANDLED", "RAISES", "RULE_SETS", "UNMAPPED", "Rule", "RuleSet", "ignored", "rule_set"]

RULE_SETS: dict[str, Callable[[Rules], RuleSet]] = {
    "packit": lambda rules: packit.rule_set(rules.packit),
    "centos": lambda _rules: centos.rule_set(),
    "all": lambda _rules: TopicRules(find=lambda _topic: always),  # for a bus without a listener
}


def rule_set(name: str, rules: Rules) -> RuleSet:
    """Return the book of that name, or the one around the listener's own `module:callable`.

    ValueError says what is wrong with the name, or why it can't be imported.
    """
    if name in RULE_SETS:
        return RULE_SETS[name](rules)
    if ":" in name:
        return imported.rule_set(name, rules.packit.user)
    raise ValueError(f"should be {', '.join(RULE_SETS)} or module:callable, not {name!r}")
