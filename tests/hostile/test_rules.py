"""No rule costs much, whatever a publisher writes where a rule looks."""

from typing import Any

import pytest

from busmon.rules import Rules, rule_set
from busmon.rules.packit import TABLE
from busmon.sources.json_body import MAX_BODY_BYTES
from tests.rules import judge
from tests.support.cpu import cpu_time_at_most

PACKIT = rule_set("packit", Rules())
VALUES: dict[str, Any] = {
    "long text": "x" * MAX_BODY_BYTES,
    "long host": "http://" + "a" * MAX_BODY_BYTES,
    "long IPv6 address": "http://[" + "::" * (MAX_BODY_BYTES // 2) + "]/",
    "characters that become others": "http://" + "\u2100" * (MAX_BODY_BYTES // 3),
    "signs of addresses": "http://" + "@" * MAX_BODY_BYTES,
    "texts": ["x.spe"] * 200_000,
    "lists": [[]] * 100_000,
    "packages": [{"distro": "Fedora"}] * 50_000,
    "keys": dict.fromkeys(map(str, range(90_000)), 0),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_rules_cost_little(value: Any) -> None:
    repository = {"html_url": value}
    body = {
        "user": value, "owner": value, "tag": value, "changed_files": value,
        "task": {"method": value},
        "pullrequest": {"user": {"name": value}, "merged": value, "comments": value},
        "message": {"packages": value, "upstream_versions": value},
        "body": {
            "repository": repository, "run": {"repository": repository}, "comment": value,
            "head_commit": {"modified": value, "added": value, "removed": value},
        },
    }  # fmt: skip
    for topic in TABLE:
        with cpu_time_at_most(0.5, topic):
            judge(PACKIT, topic, body)
