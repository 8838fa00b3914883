"""`busmon learn`, and the service with an archive."""

import re
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from uuid import uuid4

from busmon.ledger.batch import Observation, Series
from busmon.ledger.ledger import Ledger
from tests.archive.test_client import answering
from tests.support.brokers import free_port, wait_until
from tests.support.busmon_process import Busmon
from tests.support.command import busmon
from tests.support.datagrepper import Datagrepper, Sent
from tests.support.terminal import run_on_terminal

HOUR = 3600


def configured(directory: Path, archive: str) -> Busmon:
    """Return a busmon whose broker is down."""
    bus = {"type": "mqtt", "rules": "all", "url": f"mqtt://127.0.0.1:{free_port()}"}
    found = Busmon(directory, {"fedora": bus | {"topics": ["#"], "client_id": "busmon"}})
    with found.configuration.open("a") as file:
        file.write(f'\n[archive]\nbus = "fedora"\nurl = "{archive}"\ncontact = "me@example.com"\n')
    return found


def metrics(service: Busmon) -> list[str]:
    return service.ask("/metrics")[1]


def test_busmon_learns_what_is_usual_within_seconds(
    datagrepper: Datagrepper, tmp_path: Path
) -> None:
    topic, now = f"org.example.{uuid4()}", time.time()
    ages = [30, *range(HOUR, 5 * 7 * 24 * HOUR, 3 * HOUR)]
    datagrepper.add(Sent(str(uuid4()), topic, now - age) for age in ages)
    service = configured(tmp_path, datagrepper.url)
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    ledger.record([Observation(Series("fedora", topic, "handled", ""), "1", now)])
    ledger.close()
    config = str(service.configuration)

    status, shown = run_on_terminal("-m", "busmon", "learn", "-c", config, "--weeks", "4")
    assert (status, "Learning" in shown, "100%" in shown) == (0, True, True), shown
    with service:
        ready = f'busmon_topic_baseline_ready{{bus="fedora",topic="{topic}"}} 1.0'
        wait_until(lambda: ready in metrics(service))
        ratio = re.compile(
            r'^busmon_archive_learned_ratio\{bus="fedora"\} (0\.[5-9].*|1\.0)$', re.M
        )
        wait_until(lambda: ratio.search("\n".join(metrics(service))))
        said = busmon("learn", "-c", config).stdout
        assert re.fullmatch(r"the service learns, and has learned \d+%\n", said)
        wait_until(
            lambda: 'busmon_observer_up{bus="fedora",observer="archive"} 1.0' in metrics(service)
        )


def test_an_archive_that_does_not_answer_disturbs_nothing(tmp_path: Path) -> None:
    with configured(tmp_path, f"http://127.0.0.1:{free_port()}") as service:
        wait_until(lambda: "no answer: Connection refused" in service.output())
        text = metrics(service)
        assert 'busmon_observer_up{bus="fedora",observer="archive"} 0.0' in text
        assert 'busmon_archive_learned_ratio{bus="fedora"} 0.0' in text


def test_an_archive_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    asked, leaving = Event(), Event()

    def hang(_: BaseHTTPRequestHandler) -> None:
        asked.set()
        leaving.wait(30)

    with answering(hang) as url, configured(tmp_path, url) as service:
        assert asked.wait(30)
        assert service.terminate() == 0
        leaving.set()
        assert "left behind" not in service.output()


def test_busmon_learn_needs_an_archive_and_a_ledger_on_disk(tmp_path: Path) -> None:
    service = configured(tmp_path, "http://127.0.0.1")
    ended = busmon("learn", "-c", service.configuration, "--ledger", ":memory:", status=2)
    assert "ledger.path: is in memory" in ended.stderr
    text = service.configuration.read_text().partition("[archive]")[0]
    service.configuration.write_text(text)
    assert "archive: is missing" in busmon("learn", "-c", service.configuration, status=2).stderr
