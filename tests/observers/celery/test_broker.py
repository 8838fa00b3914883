"""A broker that refuses, is another one, or answers with an error."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis as Client

from busmon.ledger.ledger import Ledger
from busmon.ledger.tables import Tables
from busmon.observers.celery import CeleryObserver, CelerySettings
from busmon.observers.celery_broker import tls_options
from busmon.threads import Threads
from tests.observers.celery.conftest import PASSWORD
from tests.support.brokers import wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.redis import Redis
from tests.support.celery_observer import NAME, Watch, publish, watching
from tests.support.celery_worker import PROCESS_MESSAGE, QUEUE, CeleryWorker
from tests.support.threads import running


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
        for reason in ("certificate verify failed", "invalid username-password pair"):
            wait_until(lambda: reason in caplog.text, what=reason)  # noqa: B023 - called at once
        assert [watch.connected() for watch in watches] == [True, False, False]
    for watch in watches:
        watch.ledger.close()
    assert "c4nary" not in caplog.text


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
        with CeleryWorker(tmp_path, broker, "-E", environment=environment):
            wait_until(watch.observer.up, what="the worker")


def wrong_type(client: Client) -> None:
    client.set(f"{QUEUE}\x06\x163", "no list")


def no_permission(client: Client) -> None:
    client.execute_command("ACL", "SETUSER", "default", "-llen")  # type: ignore[no-untyped-call]  # redis-py's


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
        CeleryWorker(tmp_path, broker, "-E"),
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
