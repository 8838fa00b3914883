"""The audit in both engines, beside a real broker, a listener with its tap, Redis and a worker."""

import json
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.support.audit_totals import totals_when_closed
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.busmon_process import Busmon
from tests.support.celery_worker import HANDLER, CeleryWorker
from tests.support.command import busmon as command
from tests.support.ledger_server import LedgerServer
from tests.support.report_tee import report_tee
from tests.support.stalls import watching_for_stalls
from tests.support.tap_reports import TOKEN
from tests.support.tapped_listener import TappedListener

WINDOW, GRACE = 6, 2  # seconds
ATTEMPTS = 3  # until the machine has not stood still meanwhile: for a second, there is no data
CONFIGURATION = f"""
[audit]
window = "{WINDOW}s"
grace = "{GRACE}s"
[audit.reports]
bus = "fedora"
token = "{TOKEN}"
[audit.celery]
bus = "fedora"
broker = "{{broker}}"
interval = "1s"
"""


def celery_is_up(busmon: Busmon) -> bool:
    _, lines = busmon.ask("/metrics?name[]=busmon_observer_up")
    return any('observer="celery"' in line and line.endswith(" 1.0") for line in lines)


def make_message(listener: TappedListener, do: str, work: str) -> Publication:
    return Publication(topic=listener.key, body=json.dumps({"do": do, "work": work}).encode())


def test_dropped_messages_are_missing_and_finished_tasks_are_counted(
    tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis, ledger_server: LedgerServer
) -> None:
    listener = TappedListener(tmp_path / "listener", rabbitmq, redis)
    toml = rabbitmq.fedora_toml(tmp_path / "fedora.toml", bindings=[listener.key], tls=True)
    bus = {"type": "amqp", "rules": "all", "config": toml}
    worker = CeleryWorker(tmp_path, redis, "-E")
    # Both have the same messages, reports and events; the waiting is what takes the time.
    of_file, of_database = tmp_path / "sqlite", tmp_path / "postgresql"
    of_file.mkdir()
    of_database.mkdir()
    url = ledger_server.url_of(ledger_server.emptied())
    busmons = [Busmon(of_file, {"fedora": bus}), Busmon(of_database, {"fedora": bus}, url=url)]
    for busmon in busmons:
        busmon.configure(CONFIGURATION.format(broker=redis.url))
    try:
        with ExitStack() as running:
            tee = running.enter_context(report_tee([busmon.url for busmon in busmons]))
            listener.tap(f"{tee}/v1/reports")
            for program in (*busmons, worker, listener):
                running.enter_context(program)
            for busmon in busmons:
                busmon.wait_until_ready()
            # That workers send events shows only in their first one.
            rabbitmq.publish([make_message(listener, "pass", "well")])
            for busmon in busmons:
                wait_until(partial(celery_is_up, busmon), what="the workers' first event")
            for _ in range(ATTEMPTS):
                watched = time.time() // WINDOW * WINDOW + 2 * WINDOW  # then by all observers
                before = [totals_when_closed(busmon, watched) for busmon in busmons]
                wait_until(lambda: time.time() % WINDOW < 1, what="the next window")
                over = time.time() + 2 * WINDOW
                works = [("pass", "well"), ("drop", ""), ("pass", "fail"), ("pass", "retry")]
                messages = [make_message(listener, do, work) for do, work in works]
                fanned_out = make_message(listener, "pass", "fan out")
                with watching_for_stalls() as latest:
                    rabbitmq.publish([*messages, fanned_out])
                    after = [totals_when_closed(busmon, over) for busmon in busmons]
                found = [later - earlier for later, earlier in zip(after, before, strict=True)]
                no_data = any(name == "no_data_windows" for totals in found for name, _ in totals)
                if latest() < 1 and not no_data:
                    break
            for busmon, totals in zip(busmons, found, strict=True):
                assert totals == {
                    ("messages", "bus"): 5,
                    ("messages", "listener"): 4,
                    ("missing", "listener"): 1,
                    ("messages", "worker"): 4,
                    ("messages", "handlers"): 2,
                    ("missing", "handlers"): 2,  # its task failed; so did a handler
                }, busmon.configuration
                message_id = str(fanned_out.message_id)
                trace = command("trace", message_id, "-c", busmon.configuration).stdout
                assert f"\n              {HANDLER}: failed, " in trace
                assert "\n  handlers  6 of 8 tasks succeeded\n" in trace
                assert "\n  audit     missing at the handlers in the window that began " in trace
    finally:
        listener.close()
        redis.clear()
