"""CentOS's Pagure: what Packit's consumer of git.centos.org took on."""

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
    """Return the book: the consumer looked at the topic alone, never at the body."""
    return TopicRules(find=_find, verdicts=tuple((HOST + event, HANDLED) for event in EVENTS))


def _find(topic: str) -> Rule | None:
    _host, _slash, event = topic.partition("/")  # the host differs on staging
    return always if event in EVENTS else None
