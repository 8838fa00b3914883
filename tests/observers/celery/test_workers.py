"""The Celery observer beside a real Redis and real workers."""

import logging
import time
from collections import Counter
from pathlib import Path

import pytest
from redis import Redis as Client

from busmon.commands.task_tree import find_tree
from busmon.observers.celery_broker import PING_INTERVAL
from tests.samples import FEDORA_FILE
from tests.support.brokers import wait_until
from tests.support.brokers.redis import Redis
from tests.support.busmon_process import Busmon
from tests.support.celery_observer import NAME, publish, watching
from tests.support.celery_worker import (
    HANDLER,
    OTHER,
    OTHER_QUEUE,
    PROCESS_MESSAGE,
    QUEUE,
    CeleryWorker,
)


def test_what_becomes_of_tasks_is_counted(tmp_path: Path, broker: Redis) -> None:
    with (
        watching(tmp_path / "ledger.sqlite", broker) as watch,
        CeleryWorker(tmp_path, broker, "-E"),
    ):
        before = time.time() - 0.001
        good, bad, again = (publish(broker, do) for do in ("succeed", "fail", "retry"))
        other = publish(broker, "", name=OTHER)
        watch.wait_for("succeeded", good, again)
        watch.wait_for("failed", bad)
        wait_until(lambda: watch.counted("received", "__other__") == 1, what="the other task")
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
        ended = {"started": 4, "retried": 1, "succeeded": 2, "failed": 1}
        wait_until(lambda: {e: watch.counted(e) for e in ended} == ended, what="the numbers")
        assert watch.counted("received", "__other__") == 1
        assert watch.counted("started", "__other__") == 0
        wait_until(watch.intervals, what="the observer to have seen")


def test_the_tree_of_tasks_behind_a_message_is_followed(tmp_path: Path, broker: Redis) -> None:
    """A handler that fails, one that is retried, a chain, a chord, and a queue that is purged."""
    with (
        watching(tmp_path / "ledger.sqlite", broker) as watch,
        CeleryWorker(tmp_path, broker, "-E"),
    ):
        root = publish(broker, "fan out")

        def tree() -> Counter[str]:
            with watch.ledger.read() as tables:
                return Counter(f"{task.name} {task.state}" for task in tables.tasks.tree(root))

        ended = {
            f"{PROCESS_MESSAGE} succeeded": 1,
            f"{HANDLER} failed": 1,
            f"{HANDLER} succeeded": 1 + 1 + 2,  # retried; of the chain; of the chord
            f"{HANDLER} sent": 1,
            f"{OTHER} succeeded": 2,  # the last of the chain, and the body of the chord
        }
        wait_until(lambda: tree() == ended, what="the tree")
        with Client.from_url(broker.url) as client:
            assert client.delete(OTHER_QUEUE) == 1  # as Packit purges it after an outage
        counts = {"sent": 7, "retried": 1, "failed": 1, "succeeded": 4}
        wait_until(lambda: {e: watch.counted(e, HANDLER) for e in counts} == counts, what="numbers")
        wait_until(lambda: watch.counted("succeeded", "__other__") == 2, what="the other ones'")
        with watch.ledger.read() as tables:
            branches = find_tree(tables, root)
        parents = [one.parent for one in branches if one.task.name == OTHER]
        handlers = [one.task.id for one in branches if one.task.name == HANDLER]
        assert all(parent in handlers for parent in parents)
        assert tree() == ended


def test_a_task_of_a_worker_that_dies_stays_started_and_the_next_ones_wait(
    tmp_path: Path, broker: Redis
) -> None:
    with watching(tmp_path / "ledger.sqlite", broker) as watch:
        with CeleryWorker(tmp_path, broker, "-E") as process:
            hanging = publish(broker, "hang")
            watch.wait_for("started", hanging)
            process.kill()
        tasks = [publish(broker, "succeed", priority) for priority in (0, 3, 9, 9)]
        wait_until(lambda: watch.waiting() == 4, what="the tasks of all priorities")
        seen_until = watch.intervals()[-1][1]
        wait_until(lambda: watch.intervals()[-1][1] > seen_until, what="an observer that sees on")
        assert [watch.task(task) for task in tasks] == [None] * 4  # no event is a fact now
        with CeleryWorker(tmp_path, broker, "-E"):
            watch.wait_for("succeeded", *tasks)
            wait_until(lambda: watch.waiting() == 0, what="an empty queue")
        assert watch.state(hanging) == "started"


def test_silent_workers_are_seen_without_a_gap(tmp_path: Path, broker: Redis) -> None:
    """The broker is asked for a sign of life then: until it answers, nothing is missed."""
    with watching(tmp_path / "ledger.sqlite", broker) as watch:
        with CeleryWorker(tmp_path, broker, "-E"):
            watch.wait_for("succeeded", publish(broker, "succeed"))
            wait_until(watch.intervals, what="the observer to have seen")
        asked = time.time() + PING_INTERVAL + 3
        wait_until(lambda: watch.intervals()[-1][1] > asked, what="an observer that sees on")
        assert len(watch.intervals()) == 1


def test_it_continues_after_the_broker_was_away_and_says_what_it_missed(
    tmp_path: Path, broker: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with (
        watching(tmp_path / "ledger.sqlite", broker) as watch,
        CeleryWorker(tmp_path, broker, "-E"),
    ):
        first = publish(broker, "succeed")
        watch.wait_for("succeeded", first)
        wait_until(watch.intervals, what="the observer to have seen")
        wait_until(watch.observer.up, what="a worker to be heard of")
        caplog.clear()
        went = time.time()
        broker.server.kill()
        wait_until(lambda: not watch.observer.up(), what="the observer to notice")
        wait_until(lambda: watch.waiting() is None, what="no length, and not 0")
        broker.server.start()
        wait_until(watch.observer.up, what="the observer to see again")

        watch.wait_for("succeeded", publish(broker, "succeed"))
        wait_until(lambda: len(watch.intervals()) == 2, what="a new interval")
        with watch.ledger.read() as tables:
            assert not tables.coverage.is_covered(NAME, went - 0.1, time.time())
    logged = [r.getMessage() for r in caplog.records if r.name.startswith("busmon")]
    *lost, back = logged  # more than one, if it tried again before the broker listened
    broken = f"{NAME}: Celery's broker 127.0.0.1:{broker.port}: "
    assert lost[0].startswith(f"{broken}ConnectionError: ")
    assert all(line.startswith(broken) for line in lost)
    assert len({*lost}) == len(lost)
    assert back == f"{NAME}: receives data again"
    assert "c4nary" not in caplog.text


def test_a_worker_without_events_gives_no_data(
    tmp_path: Path, broker: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(tmp_path / "ledger.sqlite", broker) as watch, CeleryWorker(tmp_path, broker):
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
        with CeleryWorker(tmp_path, broker, "-E"):
            wait_until(lambda: read()[succeeded] == "1.0", what="the task")
            wait_until(lambda: read()[down] == "1.0", what="the observer to be up")
        broker.server.kill()
        wait_until(lambda: read()[down] == "0.0", what="the observer to be down")
        broker.server.start()
        assert busmon.ask("/ready") == (200, ["ready"])
        shown = [*metrics, *busmon.ask("/")[1], busmon.output()]
        assert busmon.terminate() == 0
    assert "c4nary" not in "\n".join(shown)
