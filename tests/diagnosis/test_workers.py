"""Whether it is the workers' fault."""

from pydantic import SecretStr
from redis import Redis as Client

from busmon.diagnosis.verdict import FaultKind
from busmon.diagnosis.workers import GROWTH_SECONDS, IDLE_SECONDS, RECENT_SECONDS, SAMPLE_SECONDS
from busmon.observers.celery import CeleryObserver, CelerySettings
from busmon.observers.table import ObservedAudit
from tests.support.brokers import wait_until
from tests.support.brokers.redis import Redis
from tests.support.celery_worker import PROCESS_MESSAGE, make_app
from tests.support.diagnosis import Bench


def test_a_queue_that_only_grows_is_the_workers_fault(redis: Redis) -> None:
    settings = CelerySettings(
        bus="fedora", broker=SecretStr(redis.url), queues=("growing",), interval=1
    )
    bench = Bench(ObservedAudit(celery=settings))
    [celery] = bench.observers
    assert isinstance(celery, CeleryObserver)
    with bench.observing():

        def refresh(length: int, after: float) -> FaultKind:
            with Client.from_url(redis.url) as client:
                client.rpush("growing", *["task"] * (length - int(client.llen("growing"))))
            wait_until(lambda: celery.lengths().get("growing") == length, what="the length")
            return bench.refresh(after).kind

        assert refresh(100, 1) is FaultKind.NONE
        assert refresh(120, 2 * GROWTH_SECONDS + 10) is FaultKind.NONE, "a burst"
        assert bench.refresh(GROWTH_SECONDS).kind is FaultKind.WORKERS
        assert bench.refresh(2 * GROWTH_SECONDS).kind is FaultKind.NONE, "grows no more"


def test_tasks_that_nobody_takes_or_that_fail_are_the_workers_fault(redis: Redis) -> None:
    settings = CelerySettings(
        bus="fedora", broker=SecretStr(redis.url), queues=("waiting",), interval=1
    )
    bench = Bench(ObservedAudit(celery=settings))
    [celery] = bench.observers
    assert isinstance(celery, CeleryObserver)
    app = make_app(redis.url)

    def wait_for_length(length: int) -> None:
        wait_until(lambda: celery.lengths().get("waiting") == length, what="the length")

    with bench.observing(), Client.from_url(redis.url) as client:
        client.rpush("waiting", "task")
        wait_for_length(1)
        with app.connection_for_write() as connection, app.events.Dispatcher(connection) as events:
            events.send("worker-heartbeat", processed=0)  # and then none
        wait_until(celery.up, what="the observer to see")
        assert bench.refresh().kind is FaultKind.NONE
        assert bench.refresh(IDLE_SECONDS - 1).kind is FaultKind.NONE
        verdict = bench.refresh(1)
        assert verdict.kind is FaultKind.WORKERS
        stuck = ("1 task waiting in the queue waiting, and no worker has taken one for 20 min",)
        assert verdict.evidence == stuck
        with app.connection_for_write() as connection, app.events.Dispatcher(connection) as events:
            for task in map(str, range(6)):
                events.send("task-received", uuid=task, name=PROCESS_MESSAGE)
                events.send("task-failed", uuid=task)
        wait_until(lambda: celery.events()["failed", PROCESS_MESSAGE] == 6, what="the events")
        failed = (f"recent tasks have failed: 6 of 6 {PROCESS_MESSAGE}",)
        assert bench.refresh(1).evidence == failed + stuck, "they are tasks of another queue"
        client.rpush("waiting", "task")
        wait_for_length(2)
        bench.refresh(1)
        client.lpop("waiting")
        wait_for_length(1)
        assert bench.refresh(1).evidence == failed
        client.delete("waiting")
        wait_for_length(0)
        bench.refresh(SAMPLE_SECONDS)
        assert bench.refresh(RECENT_SECONDS).kind is FaultKind.NONE
