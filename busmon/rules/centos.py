"""CentOS's Pagure: what Packit's former consumer of git.centos.org passed on."""

from busmon.rules.base import HANDLED, Rule, TopicRules, always

HOST = "git.centos.org/"
EVENTS = (
    "pull-request.new",
    "pull-request.reopened",
    "pull-request.updated",
    "pull-request.comment.added",
    "pull-request.comment.edited",
    "git.receive",
)


def rule_set() -> TopicRules:
    """Return the rule set: the consumer looked only at the topic, never at the body."""
    return TopicRules(find=_find, judgements=tuple((HOST + event, HANDLED) for event in EVENTS))


def _find(topic: str) -> Rule | None:
    _host, _slash, event = topic.partition("/")  # the host differs on staging
    return always if event in EVENTS else None
