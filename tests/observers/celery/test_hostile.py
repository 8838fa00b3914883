"""What whoever publishes on the broker may say."""

import bz2
import json
import logging
import resource
import zlib
from pathlib import Path

import pytest
from redis import Redis as Client

from busmon.observers.celery_events import Dropped, read
from tests.support.brokers import wait_until
from tests.support.brokers.redis import Redis
from tests.support.celery_observer import enveloped, event, heartbeat, publish, watching


def send(broker: Redis, envelope: object, channel: str = "/0.celeryev/worker.heartbeat") -> None:
    """Publish as Kombu does, whatever it is."""
    with Client.from_url(broker.url) as client:
        content = envelope if isinstance(envelope, bytes) else json.dumps(envelope)
        assert client.publish(channel, content) == 1


def bomb() -> bytes:
    """Return 400 MiB in 400 kB."""
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(1024**2)) for _ in range(400)), packer.flush()])


BOMB = bomb()


def test_an_event_costs_at_most_its_limit_and_the_next_one_is_read() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Dropped, match="too-large"):
        read(enveloped(BOMB, compression="application/x-gzip"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 * 1024  # KiB


@pytest.mark.parametrize("compression", [None, "application/x-gzip"])
def test_an_event_is_read_with_and_without_compression(compression: str | None) -> None:
    content = heartbeat(unknown={"x": [1]})
    if compression:
        envelope = enveloped(zlib.compress(content), compression=compression)
    else:
        envelope = enveloped(content)
    assert read(envelope) == [{"type": "worker-heartbeat", "hostname": "w", "processed": 1}]


ODD = [
    b"",
    b"null",
    b"[]",
    b"5",
    b"[" * 900,
    {},
    enveloped(b"{}"),
    enveloped(b"[]") | {"body": 5},
    enveloped(b"[" * 100_000),
    enveloped(b"\xff"),
    enveloped(b'{"type": 5}'),
    enveloped(b'[{"type": "task-sent"}, {}]'),
    enveloped(heartbeat()) | {"properties": None},
    enveloped(heartbeat()) | {"body": "no base64"},
    enveloped(heartbeat(), compression="application/x-gzip"),
    enveloped(bz2.compress(heartbeat()), compression="application/x-bz2"),
    enveloped(heartbeat(), compression="none"),
    enveloped(heartbeat(x="x" * 1024**2)),
    enveloped(BOMB, compression="application/x-gzip"),
]


def test_odd_events_neither_end_the_connection_nor_hide_the_others(
    tmp_path: Path, broker: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with watching(tmp_path / "ledger.sqlite", broker) as watch:
        for odd in ODD:
            send(broker, odd)
        send(broker, enveloped(heartbeat()))
        wait_until(watch.observer.up, what="the honest event")
        assert "ended" not in caplog.text
        dropped = [
            watch.value("busmon_celery_events_dropped_total", reason=reason)
            for reason in ("malformed", "too-large")
        ]
        assert dropped == [len(ODD) - 2 - 2, 2]  # Kombu itself drops what is not JSON


def test_json_that_kombu_cannot_read_ends_the_connection_alone(
    tmp_path: Path, broker: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(tmp_path / "ledger.sqlite", broker) as watch:
        send(broker, b"[" * 100_000)
        wait_until(lambda: "RecursionError" in caplog.text, what="the end of the connection")
        publish(broker, "succeed")
        wait_until(lambda: watch.waiting() == 1, what="the next connection")


def test_a_flood_of_orphans_leaves_no_time_that_counts_as_watched(
    tmp_path: Path, broker: Redis
) -> None:
    """A handler of the listener's own may be among those that are dropped."""
    with watching(tmp_path / "ledger.sqlite", broker) as watch:
        send(broker, enveloped(heartbeat()))
        send(broker, enveloped(json.dumps([event("failed")]).encode()))
        wait_until(watch.intervals, what="the first event")
        for flood in range(6):
            ids = (f"{flood}-{number}" for number in range(1000))
            orphans = [event("sent", one, name="h", root_id="nobody") for one in ids]
            send(broker, enveloped(json.dumps(orphans).encode()))
        wait_until(
            lambda: watch.value("busmon_celery_events_dropped_total", reason="orphan"),
            what="the flood",
        )
        wait_until(lambda: len(watch.intervals()) > 1, what="the next interval")
