"""CentOS's rules on a real broker: one message of each outcome."""

from collections import Counter
from pathlib import Path
from uuid import uuid4

from busmon.sources.json_body import MAX_BODY_BYTES
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.busmon_process import Busmon
from tests.support.command import busmon as command
from tests.support.exposition import Series


def test_a_message_of_each_outcome_is_counted_as_the_consumer_would(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    host = f"git-{uuid4().hex[:8]}.centos.org"
    bus = {
        "type": "mqtt",
        "rules": "centos",
        "url": mosquitto.url,
        "topics": [f"{host}/#"],
        "client_id": host,
    }
    new, push = f"{host}/pull-request.new", f"{host}/git.receive"
    busmon = Busmon(tmp_path, {"centos": bus})
    busmon.configure('[rules.centos]\nsubtopics = ["pull-request"]')
    shown = command("check-config", "-c", busmon.configuration).stdout
    assert "  centos      what begins with pull-request after the first /\n" in shown
    with busmon:
        busmon.wait_until_ready()
        mosquitto.publish(
            [
                (new, b"{}"),
                (new, "{}".encode("utf-16")),
                (f"{host}/pull-request.unheard-of", b'{"a": NaN}'),
                (new, b"[]"),
                (new, b""),
                (new, b"\xff{}"),
                (new, b'{"a": "' + b"x" * MAX_BODY_BYTES + b'"}'),
                (push, b"{}"),
                (push, b"not JSON"),
            ]
        )
        expected: Counter[Series] = Counter(
            {
                ("centos", new, "handled", ""): 2,
                ("centos", f"{host}/pull-request.unheard-of", "handled", ""): 1,
                ("centos", new, "error", "rule-raises"): 3,
                ("centos", new, "error", "too-large"): 1,
                ("centos", push, "ignored", "other-subtopic"): 2,
            }
        )
        busmon.wait_until_counted(expected, [("centos", push, "ignored", "other-subtopic")])
