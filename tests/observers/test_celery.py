"""The Celery observer beside a real Redis and real workers."""

import bz2
import json
import logging
import re
import resource
import sys
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client

from busmon.ledger.ledger import Ledger
from busmon.ledger.tables import Tables
from busmon.ledger.tasks import Task
from busmon.ledger.values import Interval
from busmon.observers.celery import CeleryObserver, CelerySettings
from busmon.observers.celery_broker import PING_INTERVAL, tls_options
from busmon.observers.celery_events import Dropped, read
from busmon.observers.celery_tasks import TaskEvents
from busmon.observers.celery_workers import Workers
from busmon.threads import Threads
from tests.samples import FEDORA_FILE
from tests.support.brokers import Server, wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.redis import Redis
from tests.support.busmon_process import PROJECT, Busmon
from tests.support.celery_worker import OTHER, PROCESS_MESSAGE, QUEUE, make_app
from tests.support.threads import running

PASSWORD = "r3dis-c4nary"
NAME = "celery:fedora"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Redis]:
    """A Redis of these tests alone, with a password, that may be restarted."""
    redis = Redis(tmp_path_factory.mktemp("redis"), PASSWORD, certificates)
    with redis.server:
        yield redis


@pytest.fixture(autouse=True)
def _empty(broker: Redis) -> None:
    with Client.from_url(broker.url) as client:
        client.flushall()


def worker(
    directory: Path, broker: Redis, *options: str, environment: dict[str, str] | None = None
) -> Server:
    """A worker that says when it is ready, and writes no more than its warnings."""
    argv = [sys.executable, "-m", "tests.support.celery_worker", broker.url, "--concurrency=1"]
    argv += ["--without-gossip", "--without-mingle", "-l", "info", *options]
    log = directory / "worker.log"
    return Server(argv, log, environment, PROJECT, ready=lambda server: server.logged(" ready."))


def publish(broker: Redis, do: str, priority: int = 0, name: str = PROCESS_MESSAGE) -> str:
    """Publish a task as the listener does, and return its id."""
    app = make_app(broker.url)
    with app.connection_for_write() as connection:
        args = (do,) if name == PROCESS_MESSAGE else ()
        return str(app.send_task(name, args, connection=connection, priority=priority).id)


class Watch:
    """An observer at work, and its ledger."""

    def __init__(self, path: Path | str, broker: str, **settings: Any) -> None:
        self.ledger = Ledger(str(path))
        usual: dict[str, Any] = {"bus": "fedora", "broker": broker, "interval": 1}
        self.observer = CeleryObserver(CelerySettings.model_validate(usual | settings), self.ledger)

    def task(self, task: str) -> Task | None:
        with self.ledger.read() as tables:
            return tables.tasks.get(task)

    def state(self, task: str) -> str | None:
        found = self.task(task)
        return found and found.state

    def wait_for(self, state: str, *tasks: str) -> None:
        for task in tasks:
            wait_until(lambda: self.state(task) == state, what=f"a task {state}")  # noqa: B023 - called at once

    def value(self, name: str, **labels: str) -> float | None:
        for family in self.observer.collect():
            for sample in family.samples:
                if (sample.name, sample.labels) == (name, labels):
                    return sample.value
        return None

    def connected(self) -> bool:
        """Whether it has measured its queue, also if there is no worker."""
        return self.waiting() is not None

    def waiting(self) -> float | None:
        return self.value("busmon_celery_queue_tasks", queue=QUEUE)

    def counted(self, event: str) -> float | None:
        labels = {"event": event, "task": PROCESS_MESSAGE}
        return self.value("busmon_celery_task_events_total", **labels)

    def intervals(self) -> list[Interval]:
        with self.ledger.read() as tables:
            return tables.coverage.intervals(NAME)


@contextmanager
def watching(path: Path, broker: Redis, **settings: Any) -> Iterator[Watch]:
    watch = Watch(path, **{"broker": broker.url} | settings)
    with running(watch.observer.run):
        wait_until(watch.connected, what="the observer to be connected")
        yield watch
    watch.ledger.close()


def test_what_becomes_of_tasks_is_counted(tmp_path: Path, broker: Redis) -> None:
    with watching(tmp_path / "ledger.sqlite", broker) as watch, worker(tmp_path, broker, "-E"):
        before = time.time() - 0.001
        good, bad, again = (publish(broker, do) for do in ("succeed", "fail", "retry"))
        other = publish(broker, "", name=OTHER)
        watch.wait_for("succeeded", good, again)
        watch.wait_for("failed", bad)
        done, retried = watch.task(good), watch.task(again)
        assert done
        assert (done.name, done.retries) == (PROCESS_MESSAGE, 0)
        times = [done.received_at, done.started_at, done.finished_at]
        known = [at for at in times if at is not None]
        assert len(known) == len(times)
        assert before <= known[0] <= known[1] <= known[2] <= time.time()
        assert retried
        assert retried.retries == 1
        assert watch.task(other) is None
        counts = {e: watch.counted(e) for e in ("started", "retried", "succeeded", "failed")}
        assert counts == {"started": 4, "retried": 1, "succeeded": 2, "failed": 1}
        wait_until(watch.intervals, what="the observer to have seen")


def test_a_task_of_a_worker_that_dies_stays_started_and_the_next_ones_wait(
    tmp_path: Path, broker: Redis
) -> None:
    with watching(tmp_path / "ledger.sqlite", broker) as watch:
        with worker(tmp_path, broker, "-E") as process:
            hanging = publish(broker, "hang")
            watch.wait_for("started", hanging)
            process.kill()
        tasks = [publish(broker, "succeed", priority) for priority in (0, 3, 9, 9)]
        wait_until(lambda: watch.waiting() == 4, what="the tasks of all priorities")
        seen_until = watch.intervals()[-1][1]
        wait_until(lambda: watch.intervals()[-1][1] > seen_until, what="an observer that sees on")
        assert [watch.task(task) for task in tasks] == [None] * 4  # no event is a fact now
        with worker(tmp_path, broker, "-E"):
            watch.wait_for("succeeded", *tasks)
            wait_until(lambda: watch.waiting() == 0, what="an empty queue")
        assert watch.state(hanging) == "started"


def test_silent_workers_are_seen_without_a_gap(tmp_path: Path, broker: Redis) -> None:
    """The broker is asked for a sign of life then: until it answers, nothing is missed."""
    with watching(tmp_path / "ledger.sqlite", broker) as watch:
        with worker(tmp_path, broker, "-E"):
            watch.wait_for("succeeded", publish(broker, "succeed"))
            wait_until(watch.intervals, what="the observer to have seen")
        asked = time.time() + PING_INTERVAL + 3
        wait_until(lambda: watch.intervals()[-1][1] > asked, what="an observer that sees on")
        assert len(watch.intervals()) == 1


def test_it_continues_after_the_broker_was_away_and_says_what_it_missed(
    tmp_path: Path, broker: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with watching(tmp_path / "ledger.sqlite", broker) as watch, worker(tmp_path, broker, "-E"):
        first = publish(broker, "succeed")
        watch.wait_for("succeeded", first)
        wait_until(watch.intervals, what="the observer to have seen")
        lost = time.time()
        broker.server.kill()
        wait_until(lambda: not watch.observer.up(), what="the observer to notice")
        assert watch.waiting() is None  # and not 0
        broker.server.start()
        wait_until(watch.observer.up, what="the observer to see again")

        watch.wait_for("succeeded", publish(broker, "succeed"))
        wait_until(lambda: len(watch.intervals()) == 2, what="a new interval")
        with watch.ledger.read() as tables:
            assert not tables.coverage.is_covered(NAME, lost - 0.1, time.time())
    logged = [r.getMessage() for r in caplog.records if r.name.startswith("busmon")]
    assert len(logged) == 2
    assert logged[0].startswith(f"{NAME}: ConnectionError: ")
    assert logged[1] == f"{NAME}: receives data again"
    assert "c4nary" not in caplog.text


def test_a_worker_without_events_gives_no_data(
    tmp_path: Path, broker: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(tmp_path / "ledger.sqlite", broker) as watch, worker(tmp_path, broker):
        tasks = [publish(broker, "succeed") for _ in range(3)]
        silent = "sends no events of tasks: start it with -E"
        wait_until(lambda: silent in (watch.observer.problem() or ""), what="it to be found out")
        assert watch.intervals() == []
        assert [watch.task(task) for task in tasks] == [None] * 3
        assert silent in caplog.text
        assert watch.waiting() is not None


def test_nothing_is_taken_from_queues_nor_said_to_workers(tmp_path: Path, broker: Redis) -> None:
    """The one trace of an observer is its subscription, which goes when it does."""
    publish(broker, "succeed")
    with Client.from_url(broker.url) as client:
        keys = {key for key in client.scan_iter() if b"_kombu.binding" not in key}
        with client.monitor() as monitor:
            with watching(tmp_path / "ledger.sqlite", broker) as watch:
                wait_until(lambda: watch.waiting() == 1, what="the task that waits")
            client.echo("end")
            commands = []
            for command in monitor.listen():
                if command["command"] == "ECHO end":
                    break
                commands.append(command["command"])
        assert {command.split()[0] for command in commands if QUEUE in command} == {
            "LLEN",
            "SMEMBERS",
        }
        assert [c for c in commands if c.startswith("PUBLISH") or "pidbox" in c] == []
        assert {k for k in client.scan_iter() if b"_kombu.binding" not in k} == keys
        assert client.pubsub_numpat() == 0


def test_a_busmon_beside_it_serves_the_metrics_and_never_the_password(
    tmp_path: Path, broker: Redis
) -> None:
    bus = {"type": "replay", "rules": "packit", "files": [str(FEDORA_FILE)]}
    busmon = Busmon(tmp_path, {"fedora": bus})
    settings = f'[audit.celery]\nbus = "fedora"\nbroker = "{broker.url}"\ninterval = "1s"\n'
    busmon.configure(f'{settings}[log]\nlevel = "debug"')
    publish(broker, "succeed")
    with busmon:
        metrics: dict[str, str] = {}

        def read() -> dict[str, str]:
            _, lines = busmon.ask("/metrics")
            samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
            metrics.update((name, value) for name, _, value in samples)
            return metrics

        length = f'busmon_celery_queue_tasks{{queue="{QUEUE}"}}'
        wait_until(lambda: read().get(length) == "1.0", what="the length of the queue")
        assert metrics['busmon_observer_up{bus="fedora",observer="celery"}'] == "0.0"
        succeeded = f'busmon_celery_task_events_total{{event="succeeded",task="{PROCESS_MESSAGE}"}}'
        assert metrics[succeeded] == "0.0"
        down = 'busmon_observer_up{bus="fedora",observer="celery"}'
        with worker(tmp_path, broker, "-E"):
            wait_until(lambda: read()[succeeded] == "1.0", what="the task")
            wait_until(lambda: read()[down] == "1.0", what="the observer to be up")
        broker.server.kill()
        wait_until(lambda: read()[down] == "0.0", what="the observer to be down")
        broker.server.start()
        assert busmon.ask("/ready") == (200, ["ready"])
        shown = [*metrics, *busmon.ask("/")[1], busmon.output()]
        assert busmon.terminate(5) == 0
    assert "c4nary" not in "\n".join(shown)


def test_login_and_certificate_problems_do_not_show_the_password(
    tmp_path: Path, broker: Redis, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = broker.url.replace(PASSWORD, "wr0ng-c4nary")
    watches = [
        Watch(tmp_path / "good", broker.tls_url, ca=certificates.ca),
        Watch(tmp_path / "unknown", broker.tls_url),
        Watch(tmp_path / "wrong", wrong),
    ]
    with running(*(watch.observer.run for watch in watches)):
        wait_until(watches[0].connected, what="a connection with TLS")
        wait_until(lambda: len(caplog.records) >= 2, what="two lines in the log")
        assert [watch.connected() for watch in watches] == [True, False, False]
    for watch in watches:
        watch.ledger.close()
    assert "certificate verify failed" in caplog.text
    assert "invalid username-password pair" in caplog.text
    assert "c4nary" not in caplog.text


# What a broker or whoever publishes on it may say


def send(broker: Redis, envelope: object, channel: str = "/0.celeryev/worker.heartbeat") -> None:
    """Publish as Kombu does, whatever it is."""
    with Client.from_url(broker.url) as client:
        content = envelope if isinstance(envelope, bytes) else json.dumps(envelope)
        assert client.publish(channel, content) == 1


def enveloped(content: bytes, **headers: str) -> dict[str, object]:
    return {
        "body": b64encode(content).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {"body_encoding": "base64", "delivery_tag": "x", "delivery_info": {}},
    }


def heartbeat(**fields: object) -> bytes:
    return json.dumps(
        {"type": "worker-heartbeat", "hostname": "w", "processed": 1} | fields
    ).encode()


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


class BrokenLedger(Ledger):
    """Writes with a bug of busmon's own; it looks like an error of the network."""

    @contextmanager
    def write(self) -> Iterator[Tables]:
        raise TimeoutError("a bug")
        yield


def test_a_bug_ends_the_thread_and_is_not_taken_for_a_lost_broker(
    tmp_path: Path, broker: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = BrokenLedger(str(tmp_path / "ledger.sqlite"))
    settings = CelerySettings.model_validate({"bus": "fedora", "broker": broker.url})
    threads, died = Threads(), threading.Event()
    threads.add(NAME, CeleryObserver(settings, ledger).run)
    threads.start(died)
    assert died.wait(30)
    assert threads.stop(10)
    assert threads.problem() == "thread celery:fedora died: TimeoutError('a bug')"
    assert "in write" in caplog.text
    ledger.close()


def test_a_broker_without_a_worker_is_not_up(
    tmp_path: Path, broker: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if the ledger knows tasks: it may be the wrong database now, or the wrong prefix."""
    odd = [{}, {"global_keyprefix": "other."}, {"broker": broker.url.replace("/0", "/7")}]
    usual = {"broker": broker.url}
    watches = [Watch(tmp_path / str(n), **usual | settings) for n, settings in enumerate(odd)]
    for watch in watches:
        with watch.ledger.write() as tables:
            tables.tasks.receive("t", PROCESS_MESSAGE, time.time())
    with running(*(watch.observer.run for watch in watches)):
        for watch in watches:
            wait_until(lambda: "heard" in (watch.observer.problem() or ""), what="a problem")  # noqa: B023 - called at once
            assert not watch.observer.up()
            assert watch.intervals() == []
    since = "celery:fedora: no worker was heard of since 20.* UTC: check the database, and "
    assert len(re.findall(since, caplog.text)) == 3


def test_workers_that_are_all_down_are_no_reason_not_to_be_up(
    tmp_path: Path, broker: Redis
) -> None:
    """After a restart of busmon: Celery has used the queue here, and the ledger knows tasks."""
    publish(broker, "succeed")
    watch = Watch(tmp_path / "ledger.sqlite", broker.url)
    with watch.ledger.write() as tables:
        tables.tasks.receive("t", PROCESS_MESSAGE, time.time())
    watch.ledger.close()
    with watching(tmp_path / "ledger.sqlite", broker) as watch:
        wait_until(watch.observer.up, what="the observer to be up")
        wait_until(watch.intervals, what="its coverage")


def test_workers_with_a_key_prefix_and_other_priorities_are_seen(
    tmp_path: Path, broker: Redis
) -> None:
    options = {"global_keyprefix": "packit.", "sep": ":", "priority_steps": [0, 20]}
    environment = {"BROKER_TRANSPORT_OPTIONS": json.dumps(options)}
    with watching(tmp_path / "ledger.sqlite", broker, **options) as watch:
        with Client.from_url(broker.url) as client:
            client.lpush(f"packit.{QUEUE}", "a")
            client.lpush(f"packit.{QUEUE}:20", "b", "c")
        wait_until(lambda: watch.waiting() == 3, what="the tasks of both priorities")
        with Client.from_url(broker.url) as client:
            client.delete(f"packit.{QUEUE}", f"packit.{QUEUE}:20")
        with worker(tmp_path, broker, "-E", environment=environment):
            wait_until(watch.observer.up, what="the worker")


def wrong_type(client: Client) -> None:
    client.set(f"{QUEUE}\x06\x163", "no list")


def no_permission(client: Client) -> None:
    client.execute_command("ACL", "SETUSER", "default", "-llen")  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("spoil", "said"), [(wrong_type, "WRONGTYPE"), (no_permission, "NOPERM|no permissions")]
)
def test_a_reply_that_is_an_error_is_no_length_and_is_reported(
    spoil: Callable[[Client], None],
    said: str,
    tmp_path: Path,
    broker: Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        watching(tmp_path / "ledger.sqlite", broker, queues=[QUEUE, "other"]) as watch,
        worker(tmp_path, broker, "-E"),
        Client.from_url(broker.url) as client,
    ):
        wait_until(watch.observer.up, what="the worker")
        assert watch.waiting() == 0
        try:
            spoil(client)
            wait_until(lambda: not watch.observer.up(), what="the error")
            assert watch.waiting() is None
            assert re.search(f"queue {QUEUE}: .*({said})", caplog.text)
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+llen")
            client.delete(f"{QUEUE}\x06\x163")
        wait_until(watch.observer.up, what="the observer to see again")
        assert watch.waiting() == 0


def test_the_name_in_the_certificate_is_checked_by_any_client() -> None:
    """redis-py before version 6 does not check it by default."""
    assert tls_options("rediss://broker", None) == {
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
    }


# Events as they may come


def event(kind: str, task: object = "t", **fields: Any) -> dict[str, object]:
    return {"type": f"task-{kind}", "uuid": task, "hostname": "w"} | fields


@pytest.mark.parametrize(
    ("kinds", "state", "retries"),
    [
        ("received", "received", 0),
        ("received started failed", "failed", 0),
        ("received started retried received started succeeded", "succeeded", 1),
        ("received started failed received", "received", 0),  # delivered again
        ("received started succeeded received started failed", "succeeded", 0),
        ("received received", "received", 0),
        ("started succeeded", None, None),  # of which task?
    ],
)
def test_the_newest_event_gives_the_state_and_success_is_final(
    kinds: str, state: str | None, retries: int | None
) -> None:
    ledger = Ledger(":memory:")
    events = TaskEvents(["mine"])
    for number, kind in enumerate(kinds.split()):
        events.add(event(kind, name="mine"), number)
    with ledger.write() as tables:
        events.write(tables.tasks)
        found = tables.tasks.get("t")
    assert (found and found.state, found and found.retries) == (state, retries)
    finished = found and found.finished_at is not None
    assert bool(finished) == (state in ("succeeded", "failed"))
    ledger.close()


@pytest.mark.parametrize(
    "strange",
    [
        event("received", name="another"),
        event("received", name=["mine"]),
        event("received", task=None, name="mine"),
        event("received", task="x" * 256, name="mine"),
        event("received", task="\udcff", name="mine"),
        {"type": "task-received"},
    ],
)
def test_an_event_of_no_configured_task_is_ignored(strange: dict[str, object]) -> None:
    events = TaskEvents(["mine"])
    assert events.add(strange, 1.0)
    assert not events


def test_each_event_without_room_is_counted() -> None:
    watch = Watch(":memory:", "redis://localhost")
    number = 20_003
    events = [event("received", str(n), name=PROCESS_MESSAGE) for n in range(number)]
    for start in range(0, number, 1000):
        watch.observer.receive(enveloped(json.dumps(events[start : start + 1000]).encode()))
    assert watch.value("busmon_celery_events_dropped_total", reason="unwritten") == 3
    watch.ledger.close()


def test_events_that_cannot_be_written_are_kept_up_to_a_limit() -> None:
    events = TaskEvents(["mine"])
    while events.add(event("received", str(len(events)), name="mine"), 1.0):
        pass
    assert len(events) == 20_000


def beat(processed: int) -> dict[str, object]:
    return {"type": "worker-heartbeat", "hostname": "w", "processed": processed}


@pytest.mark.parametrize(
    ("events", "silent"),
    [
        ([beat(5), beat(5), beat(5)], False),  # idle
        ([beat(0), event("received"), beat(1), beat(1)], False),
        ([beat(0), beat(1), event("received"), beat(1)], False),  # a little late
        ([beat(0), beat(1), beat(1)], True),
        ([beat(0), beat(1), beat(2), beat(3)], True),
        ([beat(0), beat(1), beat(1), event("started"), beat(2)], False),
        ([beat(0), beat(1), beat(1), {"type": "worker-offline", "hostname": "w"}], False),
        ([beat(9), beat(0), beat(0)], False),  # started anew
        ([beat(0), event("sent"), beat(1), event("sent"), beat(1)], True),
    ],
)
def test_a_worker_whose_count_grows_without_an_event_is_silent(
    events: list[dict[str, object]], silent: bool
) -> None:
    workers = Workers(any_events=False)
    for number, each in enumerate(events):
        workers.add(each, number)
    assert workers.silent(10.0) == (["w"] if silent else [])
    assert workers.silent(100.0) == []  # gone
