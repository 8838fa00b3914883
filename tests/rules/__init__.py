"""What a rule set says about a message."""

from typing import Any

from busmon.message import Message
from busmon.rules import Rules, RuleSet, rule_set

P = "org.fedoraproject.prod."
ANITYA = "org.release-monitoring.prod.anitya.project.version.update.v2"
DIST_GIT = {"html_url": "https://src.fedoraproject.org/rpms/hello"}
ELSEWHERE = {"html_url": "https://forge.fedoraproject.org/example/hello"}
PACKIT = rule_set("packit", Rules())


def judge(rules: RuleSet, topic: str, body: Any) -> str:
    judgement = rules.judge(Message(bus="a-bus", id="1", topic=topic, received_at=0, body=body))
    return f"{judgement.outcome} {judgement.reason}".strip()
