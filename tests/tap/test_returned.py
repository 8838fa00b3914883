"""The tap in a listener without Celery: a message is passed when its callback returns."""

import json
import time
from pathlib import Path

from tests.support.audit_totals import Totals, totals_when_closed
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.busmon_process import Busmon
from tests.support.command import busmon as command
from tests.support.constants import set_constants
from tests.support.tap_reports import LATE, TOKEN
from tests.support.tapped_listener import TappedListener
from tests.tap.conftest import reports, reports_url

WINDOW = 6  # seconds
CONFIGURATION = f"""
[audit]
window = "{WINDOW}s"
grace = "2s"
[audit.reports]
bus = "fedora"
token = "{TOKEN}"
"""
STATES = {
    "return": "passed",
    "Nack": "passed",  # at the second try
    "Drop": "raised",
    "halt": "passed",  # acknowledged
    "halt, requeue": "raised",
    "raise": "raised",
}
PAGES = ("/", "/gaps", "/topics", "/incidents", "/v1/", "/v1/status")


def test_without_celery_only_what_did_not_return_is_missing(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    listener = TappedListener(
        tmp_path / "listener", rabbitmq, None, "tests.support.without_celery:function"
    )
    toml = rabbitmq.fedora_toml(tmp_path / "fedora.toml", bindings=[listener.key], tls=True)
    busmon = Busmon(tmp_path, {"fedora": {"type": "amqp", "rules": "all", "config": toml}})
    busmon.configure(CONFIGURATION)
    set_constants(busmon, LATE)  # a hole would be a window without data
    listener.tap(reports_url(busmon), passed="returned")
    try:
        with busmon:
            busmon.wait_until_ready()
            ids, before = do_all(listener, busmon)
            assert reports(tmp_path) == {ids[do]: (state, None) for do, state in STATES.items()}
            over = time.time() + WINDOW
            with listener:
                assert totals_when_closed(busmon, over) - before == {
                    ("messages", "bus"): 6,
                    ("messages", "listener"): 3,
                    ("missing", "listener"): 3,
                }
                missing = command("gaps", "-c", busmon.configuration, "--format", "ids", status=1)
                assert {*missing.stdout.split()} == {
                    ids[do] for do, state in STATES.items() if state == "raised"
                }
                wait_until(lambda: verdict(busmon) == "listener", what="the verdict")
                status = command("status", "-c", busmon.configuration, status=1).stdout
                trace = command("trace", ids["return"], "-c", busmon.configuration).stdout
                answers = [busmon.ask(page) for page in PAGES]
            assert "\n  listener  passed, reported " in trace
            assert {status for status, _ in answers} == {200}
            pages = ["\n".join(lines) for _, lines in answers]
            for text in (status, trace, *pages):
                assert "worker" not in text.replace("<option>worker</option>", "")
    finally:
        listener.close()


def verdict(busmon: Busmon) -> str:
    status = json.loads("\n".join(busmon.ask("/v1/status")[1]))
    kind: str = status["buses"]["fedora"]["kind"]
    return kind


def do_all(listener: TappedListener, busmon: Busmon) -> tuple[dict[str, str], Totals]:
    """Let the listener do all of STATES, starting it again each time that it ends.

    Return the id of each message, and the totals of the audit before.
    """
    with listener:
        watched = time.time() // WINDOW * WINDOW + 2 * WINDOW  # from then on by all observers
        before = totals_when_closed(busmon, watched)
        ids = listener.publish("return", "Nack", "Drop")
        wait_until(lambda: len(listener.called()) == 4, what="all calls, one twice")
        ids += listener.publish("halt")
        assert listener.wait() == 3
    for end, status in (("halt, requeue", 4), ("raise", 13)):
        with listener:
            ids += listener.publish(end)
            assert listener.wait() == status
        assert listener.drain(listener.queue) == ids[-1:]  # it would come again
    return dict(zip(STATES, ids, strict=True)), before
