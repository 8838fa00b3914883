"""Made-up traffic."""

import threading
from collections import Counter
from itertools import islice
from typing import Any

import pytest

from busmon.demo.traffic import TrafficSource
from busmon.message import TOO_COSTLY, TOO_LARGE, Message, Outcome
from busmon.rules import Rules, rule_set
from tests.support.brokers import wait_until
from tests.support.recorded import Taken
from tests.support.sources import AsTheyAre


@pytest.mark.parametrize(("kind", "rules"), [("fedora", "packit"), ("centos", "centos")])
def test_made_up_traffic_comes_to_every_outcome_and_reason(kind: Any, rules: str) -> None:
    judging = rule_set(rules, Rules())
    source = TrafficSource(kind, kind, rate=1, seed=7)
    judged = Counter(
        (message.topic, judging.judge(message)) for message in islice(source.messages(), 20_000)
    )
    assert set(judging.known_series()) <= set(judged)
    rejections = set(map(judging.unreadable, source.rejections)) - {TOO_COSTLY, TOO_LARGE}
    assert rejections <= {judgement for _, judgement in judged}
    outcomes = {judgement.outcome for _, judgement in judged}
    never = {"fedora": set(), "centos": {Outcome.IGNORED, Outcome.UNMAPPED, Outcome.INVALID}}
    assert outcomes == set(Outcome) - never[kind]


@pytest.mark.parametrize("kind", ["fedora", "centos"])
def test_made_up_messages_are_new_unless_redelivered(kind: Any) -> None:
    seen: dict[str, Message] = {}
    for message in islice(TrafficSource(kind, kind, rate=1, seed=7).messages(), 3000):
        assert (message.id in seen) == message.redelivered
        assert seen.setdefault(message.id, message).body == message.body
        assert message.sent_at is None or message.sent_at < message.received_at


def test_the_same_seed_makes_the_same_messages() -> None:
    def bodies(seed: int) -> list[Any]:
        source = TrafficSource("fedora", "fedora", rate=1, seed=seed)
        return [(message.id, message.body) for message in islice(source.messages(), 100)]

    assert bodies(1) == bodies(1) != bodies(2)


def test_made_up_traffic_goes_on_until_stopped() -> None:
    source, taken = TrafficSource("centos", "centos", rate=1000), Taken()
    running = threading.Thread(target=source.run, args=(AsTheyAre(taken),))
    running.start()
    wait_until(lambda: len(taken) > 200)
    assert source.connection.problem() is None
    source.stop()
    running.join(timeout=10)
    assert source.connection.problem() == "stopped"
