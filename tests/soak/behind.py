"""A bus with all that can be behind it: a listener with its tap and monitor, workers, the archive.

The topic of a message says what the listener does with it, so it is known which stages it reaches.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from prometheus_client.parser import text_string_to_metric_families

from busmon.message import Stage
from tests.support.brokers import free_port, wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.buses import Bus
from tests.support.busmon_process import Busmon
from tests.support.celery_worker import OTHER_QUEUE, QUEUE, CeleryWorker
from tests.support.datagrepper import Datagrepper, Sent
from tests.support.ledger_server import directory
from tests.support.streams import Sample, Stream
from tests.support.tap_reports import TOKEN
from tests.support.tapped_listener import TappedListener

BUS = "listened"
PREFIX = "com.example.soak"  # of the topics
WINDOW, LONGEST_TASK = 10, 60  # seconds
AUDIT = """
[audit]
window = "{window}s"
grace = "5s"
longest_task = "{longest_task}s"
[audit.reports]
bus = "{bus}"
token = "{token}"
[audit.ready]
bus = "{bus}"
url = "http://127.0.0.1:{monitor}/ready"
interval = "1s"
[audit.celery]
bus = "{bus}"
broker = "{broker}"
queues = ["{queues[0]}", "{queues[1]}"]
interval = "1s"
[archive]
bus = "{bus}"
url = "{archive}"
contact = "me@example.com"
"""
LISTENER, WORKER, HANDLERS = Stage.LISTENER, Stage.WORKER, Stage.HANDLERS
REPORTED = 2.0  # seconds after which a tap that can has reported a message
UNTIL_SETTLED = 1500.0  # seconds: a blind time is filled after minutes, and a failure retried late


class Work(NamedTuple):
    """What the listener and the workers are asked for, and which stages that reaches."""

    do: str
    work: str = ""
    reaches: tuple[Stage, ...] = ()


WORKS = {
    "passed": Work("pass", "", (LISTENER, WORKER, HANDLERS)),
    "retried": Work("pass", "retry", (LISTENER, WORKER, HANDLERS)),
    "failing": Work("pass", "fail", (LISTENER, WORKER)),
    "tree": Work("pass", "fan out", (LISTENER, WORKER)),  # one of its handlers fails
    "ignored": Work("nothing"),
    "dropped": Work("Drop"),
    "rejected": Work("Nack"),  # the first time
}


def topic_of(work: str) -> str:
    return f"{PREFIX}.{work}"


class WatchedListener(TappedListener):
    """A listener with a monitor, and a topic for each work."""

    def __init__(self, directory: Path, rabbitmq: RabbitMQ, redis: Redis) -> None:
        super().__init__(directory, rabbitmq, redis, topics=[topic_of(name) for name in WORKS])
        self.monitor = free_port()
        with self.toml.open("a") as file:
            file.write(f'\n[monitoring]\naddress = "127.0.0.1"\nport = {self.monitor}\n')


class Behind:
    """What is behind the bus, and what busmon must know of it."""

    def __init__(
        self, listener: WatchedListener, worker: CeleryWorker, redis: Redis, archive: Datagrepper
    ) -> None:
        self.listener, self.worker, self.redis, self.archive = listener, worker, redis, archive
        self.unseen: Counter[str] = Counter()  # messages that busmon cannot receive, by topic
        self._samples = [
            Sample(topic_of(name), "handled", "", {"do": work.do, "work": work.work})
            for name, work in WORKS.items()
        ]
        self.stream = Stream(BUS, self._samples, self._samples[-1], self._send)

    def bus(self, toml: Path, port: int, **settings: Any) -> Bus:
        """Return the bus; busmon's connection goes to this port."""
        listener = self.listener
        config = listener.rabbitmq.fedora_toml(
            toml, port=port, queue=listener.queue, bindings=listener.bindings, tls=False
        )
        usual = {"type": "amqp", "rules": "all", "config": config, "queue": str(uuid4())}
        return Bus(usual | settings, self.stream)

    def configuration(self, redis_port: int) -> str:
        """Return what busmon must know to watch it; its connection to Redis goes to this port."""
        return AUDIT.format(
            bus=BUS,
            window=WINDOW,
            longest_task=LONGEST_TASK,
            token=TOKEN,
            monitor=self.listener.monitor,
            broker=f"redis://127.0.0.1:{redis_port}/0",
            queues=(QUEUE, OTHER_QUEUE),
            archive=self.archive.url,
        )

    @contextmanager
    def listening(self, url: str) -> Iterator[None]:
        """Run the listener, whose tap reports to busmon at this URL."""
        self.listener.tap(f"{url}/v1/reports", bus=BUS)
        try:
            with self.listener:
                yield
        finally:
            self.listener.close()

    def publish_unseen(self) -> None:
        """Publish a message of each topic while busmon has no queue."""
        self._send([(sample, sample.numbered(-1)) for sample in self._samples])
        self.unseen.update(sample.topic for sample in self._samples)

    def check(self, busmon: Busmon) -> None:
        """Check what always holds: nothing has reached a stage that it cannot reach."""
        audited = sums(busmon, "busmon_audit_messages_total", "topic", "stage")
        for name, work in WORKS.items():
            for stage in {LISTENER, WORKER, HANDLERS} - {*work.reaches}:
                reached = audited[topic_of(name), stage]
                assert reached == 0, f"{reached} messages {name} reached the stage {stage}"
        assert sums(busmon, "busmon_tap_lost_reports_total", "bus")[BUS,] == 0

    def settle(self, leader: Callable[[], Busmon]) -> dict[str, int]:
        """Wait until busmon knows all, while nothing is published; then check every sum.

        Return the sums of what busmon knows.
        """
        self.wait_until_worked()
        ended = time.time()

        def settled() -> bool:
            self._show_archive_alive()
            time.sleep(1)
            with suppress(OSError):
                busmon = leader()
                closed = sums(busmon, "busmon_audit_last_closed_timestamp_seconds")
                blind = sums(busmon, "busmon_archive_blind_seconds", "state")
                return closed[()] > ended + LONGEST_TASK + WINDOW and not blind["waiting",]
            return False

        wait_until(settled, UNTIL_SETTLED, "windows to be closed and blind times to be filled")
        busmon = leader()
        self.check(busmon)
        self._check_archive(busmon)
        self._check_audit(busmon)
        audit = ("messages", "missing", "recovered", "no_data_windows")
        totals = {name: sums(busmon, f"busmon_audit_{name}_total", "stage") for name in audit}
        totals["unconfirmed"] = sums(busmon, "busmon_unconfirmed_messages", "stage")
        found = {f"{n} {stage}": v for n, by in totals.items() for (stage,), v in by.items()}
        return found | {"filled": self.unseen.total()}

    def _check_archive(self, busmon: Busmon) -> None:
        filled = sums(busmon, "busmon_archive_filled_messages_total", "topic")
        assert filled == Counter({(topic,): n for topic, n in self.unseen.items()}), filled

    def _check_audit(self, busmon: Busmon) -> None:
        audited = sums(busmon, "busmon_audit_messages_total", "topic", "stage")
        missing = sums(busmon, "busmon_audit_missing_total", "topic", "stage")
        recovered = sums(busmon, "busmon_audit_recovered_total", "topic", "stage")
        gaps = sums(busmon, "busmon_open_gap_messages", "topic", "stage")
        unconfirmed = sums(busmon, "busmon_unconfirmed_messages", "stage")
        expected = Counter(self.unseen)
        for (_, topic, *_), number in self.stream.expected.items():
            expected[topic] += number
        seen = {topic: number for (topic, stage), number in audited.items() if stage == Stage.BUS}
        assert seen == expected, (seen, expected)
        for name, work in WORKS.items():
            for stage in work.reaches:
                open_gap = gaps[topic_of(name), stage]
                assert open_gap == 0, f"{open_gap} messages {name} are missing at the {stage}"
        for place, number in missing.items():
            assert number == recovered[place] + gaps[place], place
        reached = audited + recovered
        for before, stage in ((Stage.BUS, LISTENER), (LISTENER, WORKER), (WORKER, HANDLERS)):
            expected_here, here, lost = (
                sum(number for (_, of), number in counts.items() if of == where)
                for counts, where in ((reached, before), (reached, stage), (gaps, stage))
            )
            unknown = unconfirmed[stage,]
            assert expected_here == here + lost + unknown, (
                stage,
                expected_here,
                here,
                lost,
                unknown,
            )

    def wait_until_worked(self) -> None:
        """Wait until the listener and the workers have done all."""
        for _ in range(2):  # a task that is retried waits again
            wait_until(self._has_worked, 300, "the listener and the workers to finish")
            time.sleep(1)

    def wait_until_caught_up(self) -> None:
        """Wait until the listener has reported all that it handled late."""
        wait_until(self._has_handled_all, 300, "the listener to handle what waits")
        time.sleep(REPORTED)

    def _has_worked(self) -> bool:
        done = not self.redis.waiting(QUEUE) and not self.redis.unfinished()
        return done and self._has_handled_all()

    def _has_handled_all(self) -> bool:
        expected = self.stream.expected.total() + self.unseen.total()
        return len({*self.listener.called()}) == expected

    def _show_archive_alive(self) -> None:
        """Give it a message of now: what it has is complete only up to its newest one."""
        self.archive.add([Sent(str(uuid4()), f"{PREFIX}.alive", time.time())])

    def _send(self, messages: Sequence[tuple[Sample, bytes]]) -> None:
        at = datetime.now(UTC).replace(microsecond=0)
        publications = [
            Publication(topic=sample.topic, body=body, headers={"sent-at": at.isoformat()})
            for sample, body in messages
        ]
        self.listener.rabbitmq.publish(publications)
        self.archive.add(
            Sent(str(one.message_id), one.topic, at.timestamp(), json.loads(one.body))
            for one in publications
        )


def sums(busmon: Busmon, name: str, *labels: str) -> Counter[tuple[str, ...]]:
    """Return a metric of the bus, or of all busmon, by these labels, without the zeros."""
    _, lines = busmon.ask(f"/metrics?name[]={name}")
    found: Counter[tuple[str, ...]] = Counter()
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            if sample.name == name and sample.labels.get("bus", BUS) == BUS and sample.value:
                found[tuple(sample.labels[label] for label in labels)] += int(sample.value)
    return found


@contextmanager
def behind(path: Path, rabbitmq: RabbitMQ) -> Iterator[Behind]:
    """Run all but the listener, which needs busmon's address."""
    with ExitStack() as stack:
        archive = stack.enter_context(Datagrepper(stack.enter_context(directory("datagrepper"))))
        redis = Redis(path)
        stack.enter_context(redis.server)
        worker = stack.enter_context(CeleryWorker(path, redis, "-E"))
        yield Behind(WatchedListener(path / "listener", rabbitmq, redis), worker, redis, archive)
