"""busmon is away, and its queue is deleted: then the archive has what it missed."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from busmon.ledger.ledger import Ledger
from tests.ledger.sql import message_ids
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.busmon_process import PROJECT, Busmon
from tests.support.datagrepper import Datagrepper, Sent
from tests.support.filling import BUS

TOPIC = "org.fedoraproject.prod.copr.build.end"


def publish(broker: RabbitMQ, number: int) -> None:
    """Publish messages of about this second."""
    headers = {"sent-at": datetime.now(UTC).isoformat(timespec="seconds")}
    body = json.dumps({"user": "packit"}).encode()
    broker.publish(Publication(topic=TOPIC, body=body, headers=headers) for _ in range(number))


@contextmanager
def filling(ledger: Path, url: str, now: float) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", "tests.support.filling", str(ledger), url, TOPIC, str(now)]
    with subprocess.Popen(argv, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process


def test_all_is_received_or_filled_exactly_once_although_busmon_is_killed(
    rabbitmq: RabbitMQ, datagrepper: Datagrepper, tmp_path: Path
) -> None:
    queue, archive = str(uuid4()), str(uuid4())
    rabbitmq.declare_queue(archive, [TOPIC])
    config = rabbitmq.fedora_toml(tmp_path / "fedora.toml", bindings=[TOPIC])
    bus = {"type": "amqp", "rules": "packit", "config": config, "queue": queue}
    busmon = Busmon(tmp_path, {BUS: bus})
    busmon.configure(
        f'[archive]\nbus = "{BUS}"\nurl = "{datagrepper.url}"\ncontact = "me@example.com"'
    )
    with busmon:
        busmon.wait_until_ready()
        publish(rabbitmq, 20)
        wait_until(lambda: busmon.counts().total() == 20, what="the messages")
        busmon.kill()
        rabbitmq.delete_queue(queue)
        publish(rabbitmq, 300)
        busmon.start()
        busmon.wait_until_ready()
        publish(rabbitmq, 5)
        wait_until(lambda: busmon.counts().total() == 25, what="the messages")
        wait_until(lambda: len(busmon.ask("/ready")[1]) > 1, what="the blind time")
        busmon.terminate(10)

    published = rabbitmq.drain(archive)
    rabbitmq.delete_queue(archive)
    datagrepper.add(
        Sent(
            str(one.message_id),
            one.topic,
            datetime.fromisoformat(one.headers["sent-at"]).timestamp(),
            json.loads(one.body),
        )
        for one in published
    )
    later = time.time() + 1000
    datagrepper.add([Sent(str(uuid4()), "org.example.alive", later - 5)])
    ledger = tmp_path / "ledger.sqlite"
    for allowed in (1, 3, 1000):
        with filling(ledger, datagrepper.url, later) as process:
            assert process.stdout
            for _ in zip(range(allowed), process.stdout, strict=False):
                pass
            process.kill()

    ids = message_ids(ledger)
    assert len(published) == 325
    assert sorted(map(repr, ids)) == sorted(
        repr(bytes.fromhex(str(one.message_id).replace("-", ""))) for one in published
    )
    opened = Ledger(str(ledger))
    with opened.read() as tables:
        assert [one.state for one in tables.filled.fills(BUS)] == ["filled"]
        assert tables.filled.totals(BUS) == {(TOPIC, "handled"): 300}
    opened.close()
    with busmon:
        assert busmon.counts().total() == 25
        labels = f'bus="{BUS}",outcome="handled",topic="{TOPIC}"'
        filled = f"busmon_archive_filled_messages_total{{{labels}}} 300.0"
        assert filled in busmon.ask("/metrics")[1]
        [line] = [line for line in busmon.ask("/ready")[1] if "from the archive" in line]
        assert line.endswith(": filled from the archive, 300 messages")
