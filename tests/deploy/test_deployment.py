"""The whole deployment: what happens to messages, and whom busmon blames for it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client

from tests.deploy.deployment import Deployment
from tests.samples import FEDORA_FILE
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.brokers.redis import Redis

# CI runs as root, so nothing is skipped there.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mount and chroot need root")

COPR = "org.fedoraproject.prod.copr.build.end"
BUILD: dict[str, Any] = next(
    record["body"]
    for record in map(json.loads, FEDORA_FILE.read_text().splitlines())
    if record["topic"] == COPR and record["body"]["user"] == "packit"
)


def build(do: str = "pass", **changes: Any) -> Publication:
    """Return a message of Copr with its schema, and what the listener is to do with it."""
    body = json.dumps(BUILD | {"do": do} | changes).encode()
    return Publication(topic=COPR, body=body, headers={"fedora_messaging_schema": "copr.build.end"})


# Packit's filter raises on a Koji tag without its name.
DEADLY = Publication(topic="org.fedoraproject.prod.buildsys.tag", body=b'{"do": "raise"}')


@pytest.fixture
def deployment(tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis) -> Iterator[Deployment]:
    with Deployment(tmp_path, rabbitmq, redis) as deployment:
        deployment.wait_until_watched(build())
        yield deployment
    with Client.from_url(redis.url) as client:
        client.flushdb()


def test_each_loss_is_blamed_on_the_one_who_lost_it(deployment: Deployment) -> None:
    def counted(outcome: str, reason: str = "") -> float:
        return deployment.metric("busmon_messages_total", outcome=outcome, reason=reason)

    def audited(what: str, stage: str = "listener") -> float:
        return deployment.metric(f"busmon_audit_{what}_total", stage=stage)

    [first] = deployment.called()

    # A message that breaks Copr's schema reaches no callback, and nobody has lost it.
    good = deployment.publish(build(), build("drop", user="somebody"), build(chroot=7), build())
    broken = good.pop(2)
    wait_until(lambda: deployment.called() == [first, *good], what="the listener")
    wait_until(lambda: counted("invalid", "schema") == 1, what="the invalid message")
    deployment.evidence()
    assert deployment.verdicts == {"none"}

    # On another one the listener dies. What follows is lost, until it is up again.
    [deadly, *lost] = deployment.publish(DEADLY, build(), build(), build())
    assert deployment.listener.wait() == 13
    lost += deployment.publish(build(), build())
    wait_until(lambda: counted("handled") == 3 + len(lost), what="the messages for nobody")
    deployment.listener.start()
    after = deployment.publish(build(), build())
    called = [first, *good, deadly, *after]
    wait_until(lambda: deployment.called() == called, what="those after it")
    wait_until(lambda: "did not pass on 5 of" in deployment.evidence(), 60, "the verdict")
    assert deployment.execute("status").startswith("listener\n")
    wait_until(lambda: audited("messages", "worker") == 4, 60, "the end of the last window")
    assert audited("missing") == len(lost)
    assert audited("missing", "worker") == audited("unexpected") == 0
    assert {*deployment.execute("gaps", "--format", "ids").split()} == {*lost}
    assert "invalid" in deployment.execute("trace", broken)
    assert deployment.verdicts == {"none", "listener"}
    assert deployment.listener.running
