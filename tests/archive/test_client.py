"""The client, on a real Datagrepper and on servers that answer anything else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from uuid import uuid4

import msgspec
import pytest

from busmon.archive.client import (
    FRESH_SECONDS,
    MAX_ANSWER_BYTES,
    SETTLED_SECONDS,
    Datagrepper,
    Found,
    TooMuch,
    Unanswered,
)
from tests.support import datagrepper as real
from tests.support.cpu import cpu_time_at_most
from tests.support.datagrepper import Sent
from tests.support.datagrepper import settings as of_archive
from tests.support.http_server import Silent, serving

HOUR = 3600
NOON = 1_790_553_600 + 12 * HOUR


def asked(url: str, **settings: object) -> Found:
    client = Datagrepper(of_archive(url, **settings))
    return client.search(["a.topic"], NOON, NOON + HOUR)


def test_real_answers_are_exact_at_both_ends_of_a_time(datagrepper: real.Datagrepper) -> None:
    topic = f"org.example.{uuid4()}"
    times = [NOON - 1, NOON, *[NOON + 60] * 150, NOON + HOUR - 1, NOON + HOUR]
    datagrepper.add(Sent(str(uuid4()), topic, at, {"nested": [[1]] * 50}) for at in times)
    client = Datagrepper(of_archive(datagrepper.url))
    found = client.search([topic], NOON, NOON + HOUR)
    assert (found.total, len(found.messages)) == (152, 100)
    assert found.messages[0].sent_at == NOON + HOUR - 1
    assert client.search([topic], NOON, NOON + HOUR, rows=1).total == 152
    assert client.search([topic], NOON - HOUR, NOON).total == 1
    before = client.search([], NOON - 1, NOON)
    assert [one.topic for one in before.messages] == [topic]
    assert client.search(["no.such.topic"], NOON, NOON + HOUR) == Found(0, [])


Serve = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def answering(answer: Serve) -> Iterator[str]:
    class Handler(Silent, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

    with serving(Handler) as url:
        yield url


def body(content: bytes, status: int = 200) -> Serve:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return answer


def result(total: object, *messages: object) -> bytes:
    return msgspec.json.encode({"total": total, "raw_messages": messages, "count": 0})


def message(at: str | None, topic: object = "a.topic") -> dict[str, object]:
    return {"id": "1", "topic": topic, "headers": {"sent-at": at}, "body": {}}


IN_TIME, SHAPE = "2026-09-28T12:30:00+00:00", "does not answer as Datagrepper does"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", SHAPE),
        (b"<!DOCTYPE html><title>Fedora</title>", SHAPE),
        (b"[]", SHAPE),
        (b'{"error": "not_found"}', SHAPE),
        (b"[" * 200_000, SHAPE),
        (b'{"total": 0, "raw_messages": [], "x": ' + b"[" * 200_000, SHAPE),
        (b"\xff" * 100, SHAPE),
        (result(-1), SHAPE),
        (result(2**70), SHAPE),
        (result(10**9 + 1), SHAPE),
        (result(True), SHAPE),
        (result(0, None), SHAPE),
        (result(200, *[message(IN_TIME)] * 101), "has 200 messages, but answers with 101 of them"),
        (result(1, message(IN_TIME, topic=None)), SHAPE),
        (result(3), "has 3 messages, but answers with 0 of them"),
        (result(0, message(IN_TIME)), "has 0 messages, but answers with 1 of them"),
        (result(1, message(IN_TIME, "b.topic")), "answers with messages of another topic"),
        (result(1, message("2026-09-28T13:00:00")), "answers with messages of another time"),
        (result(1, message("9999-12-31T23:59:59-23:00")), "answers with messages of another time"),
    ],
)
def test_what_is_no_answer_to_the_question_is_an_error(content: bytes, problem: str) -> None:
    with answering(body(content)) as url, cpu_time_at_most(0.2), pytest.raises(Unanswered) as why:
        asked(url)
    assert str(why.value) == problem


@pytest.mark.parametrize("at", [None, "", "yesterday", "9" * 5000])
def test_a_message_without_a_time_counts(at: str | None) -> None:
    with answering(body(result(1, message(at)))) as url:
        assert [one.sent_at for one in asked(url).messages] == [None]


def test_statuses_and_closed_connections_are_errors() -> None:
    def close(_: BaseHTTPRequestHandler) -> None:
        pass

    problems = {500: "status 500", 502: "status 502", 302: "status 302", 204: "status 204"}
    for status, problem in problems.items():
        with answering(body(b"{}", status)) as url, pytest.raises(Unanswered, match=problem):
            asked(url)
    with answering(close) as url, pytest.raises(Unanswered, match="no answer"):
        asked(url)
    with pytest.raises(Unanswered, match="no answer"):
        asked("http://127.0.0.1:1")


def test_an_answer_that_is_too_long_asks_for_less() -> None:
    with (
        answering(body(b" " * (MAX_ANSWER_BYTES + 1))) as url,
        cpu_time_at_most(0.3),
        pytest.raises(TooMuch),
    ):
        asked(url)


def test_it_says_who_it_is_and_goes_through_the_proxy() -> None:
    seen = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append((request.path, request.headers["Host"], request.headers["User-Agent"]))
        body(result(0))(request)

    with answering(answer) as proxy:
        asked("http://archive.example.com/base/", proxy=proxy)
    [(path, host, agent)] = seen
    assert path.startswith("http://archive.example.com/base/v2/search?start=1790596800&end=17906")
    assert host == "archive.example.com"
    assert agent.endswith("(busmon@example.com)")


def test_how_far_the_archive_has_come_is_asked_once_for_all_jobs() -> None:
    requests: list[str] = []
    sent = "2026-09-28T11:59:50+00:00"  # ten seconds before NOON

    def answer(request: BaseHTTPRequestHandler) -> None:
        requests.append(request.path)
        body(result(1, message(sent)))(request)

    with answering(answer) as url:
        client = Datagrepper(of_archive(url))
        assert client.settled(NOON) is None
        assert client.ask_settled(NOON) == NOON - 10 - SETTLED_SECONDS
        assert client.settled(NOON + FRESH_SECONDS - 1) == NOON - 10 - SETTLED_SECONDS
        assert client.settled(NOON + FRESH_SECONDS) is None
        assert client.settled(NOON - 1) is None, "the clock was set back"
    assert len(requests) == 1
    with answering(body(result(0))) as url, pytest.raises(Unanswered, match="not up to date"):
        Datagrepper(of_archive(url)).ask_settled(NOON)
