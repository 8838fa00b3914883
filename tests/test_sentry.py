"""What is reported to Sentry, what never is, and what a Sentry that does not answer costs."""

import ast
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from busmon import __version__
from busmon.problem_log import ProblemLog
from busmon.sentry import QUEUED_EVENTS, SentrySettings, reporting
from busmon.threads import ThreadDied, Threads
from tests.samples import FEDORA, FEDORA_FILE
from tests.support.brokers import free_port, wait_until
from tests.support.busmon_process import PROJECT, Busmon
from tests.support.sentry import KEY, Sentry, listening

SECRET = "s3cr3t-of-a-body"
log = logging.getLogger("busmon.tests")


@pytest.fixture
def sentry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sentry]:
    monkeypatch.setattr("busmon.sentry.STOP_TIMEOUT", 30)  # it answers, on a busy machine late
    with listening() as server:
        yield server


def settings(sentry: Sentry) -> SentrySettings:
    return SentrySettings.model_validate({"dsn": sentry.dsn, "environment": "stg"})


def fail(body: Any) -> None:
    local = f"a copy of {body}"
    try:
        raise KeyError(body)
    except KeyError as error:
        error.add_note(body)
        raise ValueError(f"no key in {local}") from error


def test_an_event_says_what_failed_and_where(sentry: Sentry) -> None:
    with reporting(settings(sentry), ["fedora"]):
        try:
            fail(SECRET)
        except ValueError:
            log.exception("%s: unexpected error, %d times", "fedora", 3)
    [event] = sentry.events()
    assert event["logentry"]["formatted"] == "fedora: unexpected error, 3 times"
    assert (event["logger"], event["level"]) == ("busmon.tests", "error")
    assert (event["environment"], event["release"]) == ("stg", f"busmon@{__version__}")
    assert event["transaction"] == "busmon.tests.test_an_event_says_what_failed_and_where"
    assert event["tags"]["thread"] == threading.current_thread().name
    assert [error["type"] for error in event["exception"]["values"]] == ["KeyError", "ValueError"]
    frames = event["exception"]["values"][-1]["stacktrace"]["frames"]
    assert [frame["function"] for frame in frames] == [
        "test_an_event_says_what_failed_and_where",
        "fail",
    ]


def test_nothing_of_a_message_is_in_an_event_and_no_secret(sentry: Sentry) -> None:
    with reporting(settings(sentry), ["fedora"]):
        log.warning("before %s", SECRET)  # no breadcrumb
        try:
            fail(SECRET)
        except ValueError as error:
            log.exception("cannot answer the request for %r", f"/{SECRET}")
            log.error("%s: %s", "fedora", error)
            log.error("%s", {"body": SECRET}, extra={"body": SECRET})
            log.error("%s", [SECRET], exc_info=error)
        logging.getLogger("another.library").error("not busmon's: %s", SECRET)
    shown = [event["logentry"]["formatted"] for event in sentry.events()]
    assert shown == ["cannot answer the request for '…'", "fedora: …", "%s", "…"]
    heard = b"".join(sentry.heard).decode()
    assert SECRET not in heard
    # Neither the environment, nor arguments, nor breadcrumbs.
    assert not [word for word in (os.environ["PATH"], "breadcrumbs", "argv") if word in heard]


def test_a_thread_that_dies_is_reported_once(sentry: Sentry) -> None:
    def die(_stopping: threading.Event) -> None:
        fail(SECRET)

    def run() -> None:
        threads.start(on_death)
        assert on_death.wait(30)
        threads.stop(30)
        raise ThreadDied("source:fedora")

    threads, on_death = Threads(), threading.Event()
    threads.add("source:fedora", die)
    with pytest.raises(ThreadDied), reporting(settings(sentry), ["fedora"]):
        run()
    [event] = sentry.events()
    assert event["logentry"]["formatted"] == "thread source:fedora died"
    assert event["tags"]["thread"] == "source:fedora"


def test_an_exception_that_ends_busmon_is_reported_without_its_text(sentry: Sentry) -> None:
    with pytest.raises(OSError, match=SECRET), reporting(settings(sentry), []):
        raise OSError(2, SECRET)
    [event] = sentry.events()
    assert event["logentry"]["formatted"] == "busmon ends"
    assert [error["type"] for error in event["exception"]["values"]] == ["FileNotFoundError"]
    assert SECRET not in b"".join(sentry.heard).decode()


def test_the_same_error_is_reported_once_and_others_beside_it(sentry: Sentry) -> None:
    with reporting(settings(sentry), []):
        for error in (KeyError("a"), KeyError("b"), OSError("c")) * 10:
            log.error("the same line", exc_info=error)
        log.error("another line")
    shown = [
        event.get("exception") and event["exception"]["values"][0]["type"]
        for event in sentry.events()
    ]
    assert shown == ["KeyError", "OSError", None]


def test_the_same_error_of_another_bus_is_another_error(sentry: Sentry) -> None:
    with reporting(settings(sentry), ["fedora", "centos"]):
        for number, bus in enumerate(["fedora", "centos"] * 3):
            log.error("%s: hung for %d s", bus, number)
    shown = [event["logentry"]["formatted"] for event in sentry.events()]
    assert shown == ["fedora: hung for 0 s", "centos: hung for 1 s"]


def test_the_text_of_each_error_is_a_constant_that_sentry_may_see() -> None:
    places = {"log.error": 0, "log.exception": 0, "log.critical": 0, "log.log": 1, ".problem": 0}
    # ProblemLog logs the text that it is given.
    for path in {*(PROJECT / "busmon").rglob("*.py")} - {PROJECT / "busmon/problem_log.py"}:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).removeprefix("self._")
                if "level" in {keyword.arg for keyword in node.keywords}:  # a ProblemLog's
                    name = f".{name.rpartition('.')[2]}"
                text = node.args[places[name]] if name in places else ast.Constant("")
                assert isinstance(text, ast.Constant), f"{path}:{node.lineno}"


def test_a_problem_that_is_reported_has_its_text_and_its_place(sentry: Sentry) -> None:
    problems = ProblemLog(log)
    with reporting(settings(sentry), []):
        for text in (f"one {SECRET}", f"another {SECRET}"):
            problems.problem("no %s", text, level=logging.ERROR, error=ValueError(text))
        problems.problem("%r", SECRET, level=logging.ERROR, error=ValueError(SECRET))
    shown = [(event["transaction"], event["logentry"]["formatted"]) for event in sentry.events()]
    place = "busmon.tests.test_a_problem_that_is_reported_has_its_text_and_its_place"
    assert shown == [(place, "no …"), (place, "'…'")]
    assert SECRET not in b"".join(sentry.heard).decode()


def test_while_sentry_does_not_answer_only_the_first_events_are_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"http://{KEY}@127.0.0.1:{silent.getsockname()[1]}/7"
        with reporting(SentrySettings.model_validate({"dsn": dsn}), []):
            for number in range(QUEUED_EVENTS + 2):  # one more is on its way
                error = type(f"Error{number}", (Exception,), {})()
                log.error("%d", number, exc_info=error)
    assert "an error is not reported to Sentry: full_queue" in caplog.messages


# As a process


def damaged(directory: Path) -> dict[str, dict[str, object]]:
    """A bus of recorded messages, and a damaged file after them: that is an error in the log."""
    path = directory / f"{SECRET}.gz"
    path.write_bytes(b"not gzip")
    files = [str(FEDORA_FILE), str(path)]
    return {"fedora": {"type": "replay", "rules": "packit", "files": files}}


def counted(process: Busmon) -> None:
    wait_until(lambda: process.counts().total() == len(FEDORA), what="every message to be counted")
    wait_until(lambda: process.logged("cannot read"), what="the error")


def test_the_service_reports_its_errors(tmp_path: Path, sentry: Sentry) -> None:
    process = Busmon(tmp_path, damaged(tmp_path))
    (tmp_path / "dsn").write_text(sentry.dsn)
    process.configure('[sentry]\ndsn_file = "dsn"')
    with process:
        counted(process)
        wait_until(sentry.events, what="the event")
        assert process.terminate(5) == 0
    [event] = sentry.events()
    assert event["logentry"]["formatted"] == "fedora: cannot read …: …"
    assert event["environment"] == "production"
    assert SECRET not in b"".join(sentry.heard).decode()
    assert KEY not in process.output()


def test_a_service_whose_thread_dies_reports_that_before_it_ends(
    tmp_path: Path, sentry: Sentry
) -> None:
    process = Busmon(tmp_path, damaged(tmp_path))
    words = [sys.executable, "-m", "tests.support.bad_threads", "silence"]
    argv = [*words, "run", "-c", str(process.configuration)]
    process.configure(f'[sentry]\ndsn = "{sentry.dsn}"')
    ended = subprocess.run(argv, cwd=PROJECT, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "thread silence died" in {event["logentry"]["formatted"] for event in sentry.events()}


def test_a_sentry_that_never_answers_costs_nothing(tmp_path: Path) -> None:
    process = Busmon(tmp_path, damaged(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        process.configure(f'[sentry]\ndsn = "http://{KEY}@127.0.0.1:{port}/7"')
        with process:
            counted(process)
            connection, _ = silent.accept()  # so it tries to report
            assert process.terminate(5) == 0
        connection.close()


def test_a_sentry_that_cannot_be_reached_costs_nothing(tmp_path: Path) -> None:
    process = Busmon(tmp_path, damaged(tmp_path))
    process.configure(f'[sentry]\ndsn = "http://{KEY}@127.0.0.1:{free_port()}/7"')
    with process:
        counted(process)
        wait_until(lambda: process.logged("not reported to Sentry: network"), what="a warning")
        assert process.terminate(5) == 0
    assert [line for line in process.output().splitlines() if "Retrying" in line] == []
    assert "Traceback" not in process.output()
