"""The look at the listener's queues: a real broker, and a real listener that it never harms."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika
import pytest
from prometheus_client import CollectorRegistry

from busmon.audit.scope import Observed
from busmon.audit.windows import AuditWindows
from busmon.ledger.ledger import Ledger
from busmon.observers.queue import QueueObserver
from busmon.observers.ready_client import ask
from busmon.settings.audit import Audit
from busmon.sources.amqp.settings import AmqpBus
from busmon.threads import Threads
from tests.support.amqp import settings
from tests.support.brokers import free_port, wait_until
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import USER, VHOST, Publication, RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.ledgers import judged
from tests.support.monitored_listener import MonitoredListener
from tests.support.pretenders import AMQP_START, Pretender
from tests.support.threads import running

INTERVAL = 0.1  # seconds between two looks
SET_STATE = """
rabbit_misc:execute_mnesia_transaction(fun() ->
    rabbit_amqqueue:update(rabbit_misc:r(<<"{vhost}">>, queue, <<"{name}">>),
        fun(Queue) -> amqqueue:set_state(Queue, {state}) end) end).
"""


class Watch:
    """An observer at work, whose clock can be set forward, and its ledger."""

    def __init__(self, bus: AmqpBus, path: Path | str = ":memory:") -> None:
        self.ahead = 0.0
        self.ledger = Ledger(str(path))
        self.observer = QueueObserver(
            "fedora", bus.look_at_queues, self.ledger, INTERVAL, self._time
        )
        self._registry = CollectorRegistry()
        self._registry.register(self.observer)

    def values(self) -> dict[str, float]:
        """Return what the metrics say of the one queue."""
        return {
            sample.name.removeprefix("busmon_listener_queue_"): sample.value
            for family in self._registry.collect()
            for sample in family.samples
        }

    def counted(self) -> float:
        [look] = self.observer.looks().values()
        return look.counted

    def wait_for(self, **values: float) -> None:
        wait_until(lambda: self.values() == values, what=f"{values}")

    def wait_for_problem(self, text: str) -> None:
        wait_until(lambda: text in (self.observer.problem() or ""), what=text)

    def wait_for_looks(self, number: int) -> None:
        """Wait for so many more looks."""
        for _ in range(number):
            before = self.observer.looks()
            wait_until(lambda: self.observer.looks() is not before, what="a look")  # noqa: B023 - now

    def _time(self) -> float:
        return time.time() + self.ahead


@contextmanager
def watching(bus: AmqpBus, path: Path | str = ":memory:") -> Iterator[Watch]:
    watch = Watch(bus, path)
    with running(watch.observer.run):
        yield watch
    watch.ledger.close()


class Queue:
    """A queue of one test's own, the file that names it, and who declares and consumes it."""

    def __init__(self, broker: RabbitMQ, directory: Path) -> None:
        self.broker, self.name, self.key = broker, str(uuid4()), uuid4().hex
        self.toml = broker.fedora_toml(
            directory / "listener.toml", queue=self.name, bindings=[self.key]
        )
        self.bus = settings(self.toml)

    @contextmanager
    def declared(self, **properties: Any) -> Iterator[Any]:
        url = pika.URLParameters(self.broker.admin_url)
        with closing(pika.BlockingConnection(url)) as connection:
            channel = connection.channel()
            channel.queue_declare(self.name, durable=True, **properties)
            channel.queue_bind(self.name, "amq.topic", self.key)
            yield channel

    def set_state(self, state: str) -> None:
        """Let the broker think that the queue is `live` or `crashed`."""
        self.broker.ctl("eval", SET_STATE.format(vhost=VHOST, name=self.name, state=state))

    def publish(self, number: int) -> None:
        self.broker.publish(Publication(topic=self.key) for _ in range(number))


@pytest.fixture
def queue(rabbitmq: RabbitMQ, tmp_path: Path) -> Queue:
    return Queue(rabbitmq, tmp_path)


def test_a_queue_is_counted_held_or_gone(queue: Queue) -> None:
    with watching(queue.bus) as watch:
        wait_until(watch.observer.up, what="a look")
        assert watch.values() == {}, "it was never there"
        with queue.declared() as channel:
            watch.wait_for(up=1, messages=0, consumers=0)
            queue.publish(3)
            channel.basic_qos(prefetch_count=1)
            channel.basic_consume(queue.name, lambda *_: None)
            watch.wait_for(up=1, messages=2, consumers=1)
            channel.queue_delete(queue.name)
            watch.wait_for(up=0)
        with queue.declared(exclusive=True, auto_delete=True):
            watch.wait_for(up=1)
        watch.wait_for(up=0)


def test_what_came_while_the_queue_was_gone_is_missing(queue: Queue) -> None:
    bus = frozenset({"fedora"})
    observed = Observed(temporary=bus, queues=bus)
    with watching(queue.bus) as watch:
        windows = AuditWindows(watch.ledger, Audit(window=1), observed, bus)
        windows.begin(time.time())
        with queue.declared(exclusive=True, auto_delete=True):
            watch.wait_for(up=1)
            watch.ledger.record(judged("before", at=time.time(), bus="fedora"))
            watch.wait_for_looks(2)
        watch.wait_for(up=0)
        watch.ledger.record(judged("1", "2", "3", at=time.time(), bus="fedora"))
        with queue.declared(exclusive=True, auto_delete=True):
            watch.wait_for(up=1)
            watch.wait_for_looks(2)
            watch.ledger.record(judged("after", at=time.time(), bus="fedora"))
            while windows.close_next(time.time() + 1000):
                pass
            while windows.correct(time.time()):
                pass
        with watch.ledger.read() as tables:
            missing = [(one.id, one.estimated) for one in tables.gaps.listed()]
        assert sorted(missing) == [("1", True), ("2", True), ("3", True)]


def test_it_needs_no_right_to_the_queue(queue: Queue) -> None:
    queue.name = f"listener-{queue.key}"  # the public user has rights to UUIDs only
    file = queue.broker.fedora_toml(queue.toml, queue=queue.name)
    with watching(settings(file)) as watch, queue.declared() as channel:
        watch.wait_for(up=1, messages=0, consumers=0)
        channel.queue_delete(queue.name)


def test_that_a_queue_was_ever_there_outlives_busmon(queue: Queue, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with watching(queue.bus, path) as watch, queue.declared(exclusive=True):
        watch.wait_for(up=1)
        assert not watch.observer.looks()[queue.name].wrong_since
    with watching(queue.bus, path) as watch:
        watch.wait_for(up=0)
        with watch.ledger.read() as tables:
            assert len(tables.coverage.intervals("queue:fedora")) == 2


def test_a_new_queue_in_the_file_is_not_gone_before_it_was_there(
    queue: Queue, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.sqlite"
    with watching(queue.bus, path) as watch, queue.declared(exclusive=True):
        watch.wait_for(up=1)
        queue.name = str(uuid4())
        queue.broker.fedora_toml(queue.toml, queue=queue.name)
        wait_until(lambda: queue.name in watch.observer.looks(), what="a look at the new one")
        assert watch.values() == {}
    with watching(queue.bus, path) as watch:
        wait_until(watch.observer.up, what="a look")
        assert watch.values() == {}
        with queue.declared(exclusive=True):
            watch.wait_for(up=1)
        watch.wait_for(up=0)


@pytest.mark.parametrize("wrong", ["no broker", "login", "rights", "network"])
def test_a_broker_that_cannot_be_asked_says_nothing(queue: Queue, wrong: str) -> None:
    with Proxy(queue.broker.amqps_port) as proxy, queue.declared(exclusive=True):
        file = queue.broker.fedora_toml(queue.toml, queue=queue.name, port=proxy.port)
        with watching(settings(file)) as watch:
            watch.wait_for(up=1)
            if wrong == "no broker":
                queue.broker.fedora_toml(file, queue=queue.name, port=free_port())
                watch.wait_for_problem("network: localhost:")
            elif wrong == "login":
                login = (
                    f"amqp://{USER[0]}:wrong@127.0.0.1:{queue.broker.amqp_port}/%2Fpublic_pubsub"
                )
                queue.broker.fedora_toml(file, queue=queue.name, tls=False, url=login)
                watch.wait_for_problem("login: the login is not accepted: check amqp_url")
            elif wrong == "rights":
                url = queue.broker.url_for_fedora().replace("%2Fpublic_pubsub", "%2F")
                queue.broker.fedora_toml(file, queue=queue.name, url=url)
                watch.wait_for_problem("login: logged in, but not let into the virtual host")
            else:
                proxy.swallow()
                watch.wait_for_problem("silent: ")
            assert watch.values() == {}


def properties(broker: RabbitMQ, *names: str) -> list[dict[str, Any]]:
    """Return all that a look could change of these queues, and of who consumes from them."""
    columns = ("name", "durable", "auto_delete", "exclusive", "arguments", "messages", "consumers")
    listed = broker.ctl(
        "list_queues", "-p", VHOST, "--formatter=json", "--silent", *columns, "owner_pid"
    )
    return [row for row in json.loads(listed) if row["name"] in names]


def test_it_harms_no_durable_queue_and_no_message(queue: Queue) -> None:
    with queue.declared():
        queue.publish(20)
        before = properties(queue.broker, queue.name)
        with watching(queue.bus) as watch:
            watch.wait_for(up=1, messages=20, consumers=0)
            watch.wait_for_looks(5)
        assert properties(queue.broker, queue.name) == before
        assert queue.broker.bindings(queue.name) == {queue.key}
    with queue.declared() as channel:
        got = [channel.basic_get(queue.name, auto_ack=True)[0] for _ in range(20)]
        assert not any(deliver.redelivered for deliver in got)
        channel.queue_delete(queue.name)


def test_it_harms_no_listener_that_consumes_or_reconnects(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    with MonitoredListener(tmp_path, rabbitmq) as listener:
        with watching(settings(tmp_path / "listener.toml")) as watch:
            watch.wait_for(up=1)
            before = properties(rabbitmq, listener.queue)
            for _ in range(5):
                listener.publish(*["pass"] * 40)
                watch.wait_for_looks(1)
            received = partial(received_by, listener)
            wait_until(lambda: received() == 200, what="all messages")
            assert properties(rabbitmq, listener.queue) == before
            for _ in range(2):
                listener.terminate()
                listener.start()
            watch.wait_for(up=1)
            listener.publish(*["pass"] * 20)
            wait_until(lambda: received() == 20, what="all messages after a restart")
        text = listener.log.read_text()
        assert "RESOURCE_LOCKED" not in text
        assert text.count("Successfully registered") == 3, "once for each start"


def received_by(listener: MonitoredListener) -> int:
    return ask(listener.url).counts["received"]


def test_a_queue_that_nobody_uses_expires_as_it_would_without_busmon(queue: Queue) -> None:
    with queue.declared(arguments={"x-expires": 10_000}), watching(queue.bus) as watch:
        watch.wait_for(up=1, messages=0, consumers=0)
        watch.ahead = 3600  # after an hour, it is counted once in six minutes
        watch.wait_for(up=0)


def test_a_clock_that_is_set_back_hides_no_consumer(queue: Queue) -> None:
    with queue.declared() as channel, watching(queue.bus) as watch:
        watch.wait_for(up=1, messages=0, consumers=0)
        watch.ahead = 3600
        wait_until(lambda: watch.counted() > time.time() + 3000, what="a count in the future")
        watch.ahead = 0
        channel.basic_consume(queue.name, lambda *_: None)
        watch.wait_for(up=1, messages=0, consumers=1)
        channel.queue_delete(queue.name)


@pytest.mark.parametrize("greeting", [b"", AMQP_START], ids=["in TLS", "at the login"])
def test_it_stops_soon_although_the_broker_is_silent(
    queue: Queue, tmp_path: Path, greeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only after the deadline of the handshake or of the answer."""
    monkeypatch.setattr("busmon.sources.line.CONNECT_TIMEOUT", 120.0)
    monkeypatch.setattr("busmon.sources.amqp.connection.OPEN_TIMEOUT", 120.0)
    monkeypatch.setattr("busmon.sources.amqp.queue_probe.HEARTBEAT_SECONDS", 120)
    silent = Pretender(greeting, hang=True)
    file = queue.broker.fedora_toml(
        tmp_path / "silent.toml", queue=queue.name, port=silent.port, tls=not greeting
    )
    ledger = Ledger(":memory:")
    observer = QueueObserver("fedora", settings(file).look_at_queues, ledger)
    threads = Threads()
    threads.add("queue", observer.run)
    threads.start(threading.Event())
    wait_until(lambda: silent.heard, what="a look")
    assert threads.stop(30)
    silent.close()
    ledger.close()


def test_a_queue_that_the_broker_has_and_cannot_reach_is_not_gone(queue: Queue) -> None:
    with queue.declared() as channel, watching(queue.bus) as watch:
        watch.wait_for(up=1, messages=0, consumers=0)
        queue.set_state("crashed")
        watch.wait_for_problem("has crashed and failed to restart")
        assert watch.values() == {}
        queue.set_state("live")
        watch.wait_for(up=1, messages=0, consumers=0)
        channel.queue_delete(queue.name)


def test_a_busmon_beside_the_listener_serves_what_the_broker_says(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    config = tmp_path / "listener.toml"
    with MonitoredListener(tmp_path, rabbitmq) as listener:
        bus = {"type": "amqp", "rules": "packit", "config": str(config)}
        with Busmon(tmp_path, {"fedora": bus}) as busmon:
            labels = f'bus="fedora",queue="{listener.queue}"'
            lines = {
                f"busmon_listener_queue_up{{{labels}}} 1.0",
                'busmon_observer_up{bus="fedora",observer="queue"} 1.0',
            }
            wait_until(lambda: lines <= set(busmon.ask("/metrics")[1]), what="a look")
            held = "; a connection holds its queue"
            wait_until(lambda: held in busmon.ask("/v1/status")[1][0], what="the evidence")
            assert busmon.terminate() == 0
