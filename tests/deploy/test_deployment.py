"""The whole deployment: what happens to messages, and whom busmon blames for it."""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client

from tests.deploy.alerting import alertmanager, busmon_job, prometheus, receiving
from tests.deploy.deployment import TOKEN, Deployment
from tests.samples import FEDORA_FILE
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.celery_worker import QUEUE, make_app

# A pod's container is made by mount and chroot. CI runs as root, so it skips nothing.
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


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq: RabbitMQ, redis: Redis
) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("deployment"), rabbitmq, redis) as deployment:
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
    assert deployment.execute("status").startswith("fedora: listener, since ")
    wait_until(lambda: audited("messages", "worker") == 5, 60, "the end of the last window")
    assert audited("missing") == len(lost)
    assert audited("missing", "worker") == audited("unexpected") == 0
    assert {*deployment.execute("gaps", "--format", "ids").split()} == {*lost}
    assert "invalid" in deployment.execute("trace", broken)
    assert deployment.verdicts == {"none", "listener"}
    assert deployment.listener.running


def test_a_night_without_workers_is_reported_until_somebody_accepts_it(
    deployment: Deployment, redis: Redis, tmp_path: Path
) -> None:
    """The workers die, and what waits for them is purged, as Packit does after an outage."""

    def open_gap() -> float:
        return deployment.metric("busmon_open_gap_messages", stage="worker")

    with receiving() as receiver:
        alerts, port = alertmanager(tmp_path, receiver)
        with alerts, prometheus(tmp_path, [busmon_job(deployment.port, TOKEN)], port, haste=12):
            well = partial(deployment.metric, "busmon_verdict", kind="none")
            wait_until(lambda: well() == 1, 60, "the end of what another test lost")
            deployment.worker.kill()
            before = len(deployment.called())
            lost = deployment.publish(*[build() for _ in range(4)])
            wait_until(lambda: len(deployment.called()) == before + 4, what="the listener")
            with Client.from_url(redis.url) as queues:
                wait_until(lambda: queues.llen(QUEUE) == 4, what="their tasks")
            with make_app(redis.url) as app:
                assert app.control.purge() == 4
            deployment.worker.start()
            deployment.publish(build())
            wait_until(lambda: open_gap() == 4, 60, "the gap")
            wait_until(lambda: receiver.chats("BusmonWorkerGap"), what="the alert")

            story = partial(deployment.execute, "incidents")
            wait_until(lambda: "fedora: workers, since" in story(), what="the incident")

            # Neither a crash of busmon nor working workers end it.
            deployment.busmon.kill()
            deployment.busmon.start()
            assert open_gap() == 4
            wait_until(lambda: "all is well now" in deployment.evidence(), 60, "the workers")
            assert "still lost at the stage worker: 4 messages" in deployment.evidence()
            [(status, text)] = receiver.chats("BusmonWorkerGap")
            assert status == "firing"
            assert "have not finished 4 messages" in text

            accept = ["accept", "--since", "1h", "--stage", "worker", "--reason", "queues purged"]
            assert "4 messages of" in deployment.execute("gaps", *accept)
            assert open_gap() == 0
            wait_until(lambda: len(receiver.chats("BusmonWorkerGap")) == 2, what="the end")
            assert receiver.chats("BusmonWorkerGap")[1][0] == "resolved"
    assert "worker: 4 accepted" in story()
    assert {*lost}.isdisjoint(deployment.execute("gaps", "--format", "ids").split())
