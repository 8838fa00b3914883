"""Learning from a real Datagrepper, and from one that does not answer."""

from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace
from uuid import uuid4

import pytest

from busmon.archive import client, worker
from busmon.archive.learner import Learner
from busmon.archive.worker import FAILURE_PAUSES, Worker
from busmon.ledger.archive import Span
from busmon.ledger.ledger import Ledger
from busmon.message import Topic
from busmon.silence.histories import read
from busmon.silence.rates import Hour
from tests.archive.test_client import answering, body, message, result
from tests.support.datagrepper import Datagrepper, Sent, settings

HOUR = 3600
NOW = 1_789_000_000 // HOUR * HOUR + 1800.0
END = int(NOW // HOUR)
WEEK = 168


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger(":memory:")
    yield ledger
    ledger.close()


def messages(topic: str, by_hour: dict[int, int]) -> list[Sent]:
    """Return messages that come in bursts: all of an hour in the same second."""
    return [
        Sent(str(uuid4()), topic, (END - before) * HOUR + 1799)
        for before, number in by_hour.items()
        for _ in range(number)
    ]


def learning(url: str, ledger: Ledger, topics: list[str], weeks: int = 8) -> Learner:
    archive = client.Datagrepper(settings(url))
    return Learner(archive, ledger, "fedora", lambda: topics, weeks=weeks)


def learn(learner: Learner, steps: int = 1000) -> int:
    """Learn all, or so many steps; return the number of steps."""
    for number in range(steps):
        if learner.finished():
            return number
        assert learner.step(NOW)
    return steps


def learned(ledger: Ledger, topic: str) -> dict[int, int]:
    with ledger.read() as tables:
        sums = tables.archive_sums.between(END - 2 * WEEK, END + 1)
        return {END - one.hour: one.messages for one in sums if one.topic == topic}


def test_what_is_learned_is_exactly_what_was_stored(
    datagrepper: Datagrepper, ledger: Ledger
) -> None:
    """Also if hundreds have the same second, and over a restart of busmon."""
    busy, quiet, never = (f"org.example.{name}.{uuid4()}" for name in ("busy", "quiet", "never"))
    of_busy = {before: 30 + before % 7 for before in range(1, 16)} | {5: 151, 100: 9, WEEK + 2: 1}
    of_quiet = {1: 1, 30: 2, 31: 3, 150: 1, WEEK: 1, WEEK + 1: 1}
    datagrepper.add(messages(busy, of_busy) + messages(quiet, of_quiet))
    datagrepper.add([Sent(str(uuid4()), "a.living.archive", NOW - 5)])
    archive = client.Datagrepper(settings(datagrepper.url))
    weeks: list[str] = []

    def learner() -> Learner:
        topics = [busy, quiet, never]
        return Learner(archive, ledger, "fedora", lambda: topics, lambda: weeks.append(""), 1)

    first = learner()
    assert (learn(first, 10), first.finished(), weeks) == (10, False, [])
    steps = learn(second := learner())
    assert steps < 40
    assert (second.progress(), weeks) == ((3 * WEEK, 3 * WEEK), [""])
    assert not second.step(NOW), "there is nothing left to ask"
    assert learned(ledger, busy) == {b: n for b, n in of_busy.items() if b <= WEEK}
    assert learned(ledger, quiet) == {b: n for b, n in of_quiet.items() if b <= WEEK}
    assert learned(ledger, never) == {}
    with ledger.read() as tables:
        spans = tables.archive_sums.spans()
    assert spans == {("fedora", of): Span(END - WEEK, END) for of in (busy, quiet, never)}
    assert ledger.counts() == {}, "no counter includes what was learned"


def test_an_archive_without_recent_messages_teaches_nothing(
    datagrepper: Datagrepper, ledger: Ledger
) -> None:
    learner = learning(datagrepper.url, ledger, ["a.topic"])
    with pytest.raises(client.Unanswered, match="not up to date"):
        learner.step(NOW - 900 * HOUR)
    assert learner.progress()[0] == 0


def test_a_topic_whose_requests_fail_holds_up_no_other(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: 0.0))  # no step is slow
    asked, failing = Counter[str](), {"b.topic"}

    def answer(request: BaseHTTPRequestHandler) -> None:
        topic = request.path.partition("topic=")[2]
        asked[topic] += 1
        content = result(0) if topic else result(1, message("2026-09-10T00:25:00"))
        body(content, 502 if topic in failing else 200)(request)

    with answering(answer) as url:
        learner = learning(url, ledger, ["a.topic", "b.topic"], weeks=1)
        only = Worker(client.Datagrepper(settings(url)), ledger, [learner])
        at, pauses = 0.0, list[float]()
        for _ in range(9):
            pauses.append(only.step(NOW, at))
            at += pauses[-1]
        assert asked == {"": 1, "a.topic": 3, "b.topic": 5}
        assert pauses[-4:] == [*FAILURE_PAUSES]
        assert learner.progress() == (WEEK, 2 * WEEK)
        failing.clear()
        learn(learner)
    assert learner.progress() == (2 * WEEK, 2 * WEEK)


def test_the_largest_number_that_an_archive_may_say_can_be_learned_from(ledger: Ledger) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        topic = request.path.partition("topic=")[2]
        many = [message("2026-09-09T23:30:00")] * (1 if "rows_per_page=1&" in request.path else 100)
        alive = result(1, message("2026-09-10T00:25:00"))
        body(result(client.MAX_TOTAL, *many) if topic else alive)(request)

    with answering(answer) as url:
        learner = learning(url, ledger, ["a.topic"])
        learn(learner, 3)
    topic = Topic("fedora", "a.topic")
    found = read(ledger, {topic: NOW}, NOW, {"fedora": {}})[topic].until(NOW, {})
    assert next(found) == Hour(END - 1, client.MAX_TOTAL, 1.0)


def test_an_hour_that_is_too_large_to_be_read_counts_once(ledger: Ledger) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        alive = result(1, message("2026-09-10T00:25:00"))
        large = b" " * (client.MAX_ANSWER_BYTES + 1)
        body(large if "topic=" in request.path else alive)(request)

    with answering(answer) as url:
        learner = learning(url, ledger, ["a.topic"])
        learn(learner, 8)
    assert learned(ledger, "a.topic") == {1: 1, 2: 1, 3: 1}
