"""Rules: what the listener would do with a message.

A rule set maps each topic that the listener knows to a rule. A rule is a function of one
message. It returns None if the listener passes the message on, else a fixed slug that says
why not. A new rule set is a file here and a line in `RULE_SETS`.
"""

from collections.abc import Callable

from busmon.rules import centos, imported, packit
from busmon.rules.base import HANDLED, RAISES, UNMAPPED, Rule, RuleSet, TopicRules, always, ignored
from busmon.rules.centos import CentosRules
from busmon.rules.packit import PackitRules
from busmon.settings.section import Section
from busmon.text import format_choice

__all__ = ["HANDLED", "RAISES", "RULE_SETS", "UNMAPPED", "Rule", "RuleSet", "ignored", "rule_set"]


class Rules(Section):
    """`[rules]`: the settings of the rule sets that have any."""

    packit: PackitRules = PackitRules()
    centos: CentosRules = CentosRules()


RULE_SETS: dict[str, Callable[[Rules], RuleSet]] = {
    "packit": lambda rules: packit.rule_set(rules.packit),
    "centos": lambda rules: centos.rule_set(rules.centos),
    "all": lambda _rules: TopicRules(find=lambda _topic: always),  # for a bus without a listener
}

# The schema packages of Fedora's messages that the listener of a rule set has, as far as known:
# Packit's image installs python3-copr-messaging (files/install-deps.yaml there).
SCHEMA_PACKAGES: dict[str, tuple[str, ...]] = {"packit": ("copr-messaging",)}


def rule_set(name: str, rules: Rules) -> RuleSet:
    """Return the rule set of that name, or one of the listener's own code: `module:callable`.

    ValueError says what is wrong with the name, or why the code cannot be imported.
    """
    if name in RULE_SETS:
        return RULE_SETS[name](rules)
    if ":" in name:
        return imported.rule_set(name, rules.packit)
    raise ValueError(f"should be {format_choice([*RULE_SETS, 'module:callable'])}, not {name!r}")
