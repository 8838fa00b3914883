"""The daily comparison of the ledger with a real Datagrepper."""

from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from uuid import uuid4

import pytest

from busmon.archive import client
from busmon.archive.client import Unanswered
from busmon.archive.reconciliation import DAY_SECONDS, MAX_FAILURES, Reconciliation
from busmon.ledger.batch import Observation, Series
from busmon.ledger.differences import Difference
from busmon.ledger.filled import Fill, FillState
from busmon.ledger.ledger import Ledger
from busmon.ledger.values import Interval
from tests.archive.test_client import answering, body, message, result
from tests.support.datagrepper import Datagrepper, Sent, settings
from tests.support.diagnosis import Bench

DAY = 22_000  # in 2030
BEGIN, END = DAY * DAY_SECONDS, (DAY + 1) * DAY_SECONDS
NOW = END + 7200.0
QUIET, BUSY, EQUAL, NEVER = (f"org.example.{name}.{uuid4()}" for name in "qben")


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger(":memory:")
    receive(ledger, "a.topic", [("before", BEGIN - 7200)])
    yield ledger
    ledger.close()


def receive(ledger: Ledger, topic: str, messages: list[tuple[str, float]]) -> None:
    ledger.record([Observation(handled(topic), one, at + 3, at) for one, at in messages])


def handled(topic: str) -> Series:
    return Series("fedora", topic, "handled", "")


def store(archive: Datagrepper, topic: str, messages: list[tuple[str, float]]) -> None:
    archive.add(Sent(one, topic, at) for one, at in messages)


def some(*times: float) -> list[tuple[str, float]]:
    return [(str(uuid4()), at) for at in times]


def compare(url: str, ledger: Ledger, topics: list[str], now: float = NOW) -> list[Difference]:
    compared = Reconciliation("fedora", client.Datagrepper(settings(url)), ledger, lambda: topics)
    while compared.step(now):
        pass
    return compared.found()


def test_what_one_side_lacks_of_a_day_is_found_by_its_ids(
    datagrepper: Datagrepper, ledger: Ledger
) -> None:
    quiet, [lost], [extra] = some(BEGIN, END - 1), some(BEGIN + 50), some(BEGIN + 99)
    busy = some(*(BEGIN + 200 * n for n in range(400)))
    second = some(*[BEGIN + 7] * 150)  # of the same second, so their ids cannot be compared
    [filled] = some(BEGIN + 60)
    store(datagrepper, QUIET, [*quiet, lost, filled, *some(BEGIN - 1, END)])
    receive(ledger, QUIET, [*quiet, extra])
    with ledger.write() as tables:
        tables.filled.add([Observation(handled(QUIET), filled[0], filled[1], filled[1])])
    store(datagrepper, BUSY, busy[:350] + busy[351:])
    receive(ledger, BUSY, busy[:70] + busy[71:])
    store(datagrepper, EQUAL, second)
    receive(ledger, EQUAL, second)
    store(datagrepper, "org.example.alive", some(NOW - 5))
    found = {
        one.topic: one for one in compare(datagrepper.url, ledger, [QUIET, BUSY, EQUAL, NEVER])
    }
    assert found[QUIET] == Difference("fedora", QUIET, DAY, 4, 4, 1, 1, (extra[0],), (lost[0],))
    # busmon lacks one, and the archive another, so that the counts are equal.
    assert (found[BUSY].ours, found[BUSY].archive) == (399, 399)
    assert found[EQUAL] == Difference("fedora", EQUAL, DAY, 150, 150, 0, 0)
    assert found[NEVER] == Difference("fedora", NEVER, DAY, 0, 0, 0, 0)
    with ledger.read() as tables:
        assert tables.differences.all() == [found[topic] for topic in sorted(found)]
    # After a restart all is known, and nothing is asked again that day.
    topics = list(found)
    assert compare("http://127.0.0.1:1", ledger, topics) == [
        found[topic] for topic in sorted(found)
    ]


def test_messages_of_a_busy_topic_are_found_by_halves(
    datagrepper: Datagrepper, ledger: Ledger
) -> None:
    topic, day = f"org.example.{uuid4()}", BEGIN + DAY_SECONDS
    messages = some(*(day + 200 * n for n in range(400)))
    store(datagrepper, topic, messages)
    store(datagrepper, "org.example.alive", some(NOW + DAY_SECONDS - 5))
    receive(ledger, topic, messages[:70] + messages[72:])
    [found] = compare(datagrepper.url, ledger, [topic], NOW + DAY_SECONDS)
    lost = tuple(sorted(one for one, _ in messages[70:72]))
    assert found == Difference("fedora", topic, DAY + 1, 398, 400, 0, 2, (), lost)


def test_a_topic_that_fails_holds_up_no_other(ledger: Ledger) -> None:
    asked = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        topic = request.path.partition("topic=")[2]
        asked.append(topic)
        content = result(0) if topic else result(1, message("2030-03-28T01:59:00"))
        body(content, 502 if topic == "b.topic" else 200)(request)

    topics = ["b.topic", "c.topic"]
    with answering(answer) as url:
        archive = client.Datagrepper(settings(url))
        compared = Reconciliation("fedora", archive, ledger, lambda: topics)
        for _ in range(20):
            try:
                if not compared.step(NOW):
                    break
            except Unanswered:
                pass
    assert asked.count("b.topic") == MAX_FAILURES
    assert [one.topic for one in compared.found()] == ["c.topic"]


def test_a_day_that_is_not_on_record_is_not_compared(ledger: Ledger) -> None:
    assert compare("http://127.0.0.1:1", ledger, [QUIET], NOW - DAY_SECONDS) == []
    assert compare("http://127.0.0.1:1", ledger, [], NOW) == []


def test_nothing_is_compared_while_more_of_the_day_still_comes(ledger: Ledger) -> None:
    """Else it would count as lost for a day. This archive would not answer."""
    waiting = Fill(END - 60, END + 60)

    def asks(watched: float, blind: list[Interval], fills: list[Fill]) -> bool:
        with ledger.write() as tables:
            tables.blind_times.load("fedora", watched, 0)
            tables.blind_times.save("fedora", watched, 0, blind)
            tables.filled.save("fedora", fills)
        try:
            compare("http://127.0.0.1:1", ledger, [QUIET])
        except Unanswered:
            return True
        return False

    assert not asks(NOW - 3600, [], []), "it is disconnected"
    assert not asks(NOW, [Interval(NOW - 3600, NOW - 60)], []), "it has just reconnected"
    assert asks(NOW, [Interval(NOW - 3600, NOW - 300)], [])
    receive(ledger, QUIET, [("kept", NOW - 1000)])
    ledger.record([Observation(handled(QUIET), "late", NOW - 5, END - 30)])
    assert not asks(NOW, [], []), "its queue still delivers what it kept"
    with ledger.write() as tables:
        tables.blind_times.prune(NOW)
    assert asks(NOW, [], [])
    assert not asks(NOW, [], [waiting]), "a blind time is not filled yet"
    assert asks(NOW, [], [waiting._replace(state=FillState.FILLED)])


def test_what_only_the_archive_has_is_evidence_for_three_days(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    found = Difference("fedora", QUIET, DAY, 8, 9, 0, 1, (), ("lost",))
    with closing(Ledger(path)) as before, before.write() as tables:
        tables.differences.save(found)
        tables.differences.save(found._replace(topic=EQUAL, archive=8, only_archive=0))
    bench = Bench(now=NOW, path=path, archive="http://127.0.0.1:1")
    *_, last = bench.refresh().evidence
    assert last.startswith(f"on 2030-03-27 the archive has 1 message of {QUIET} that busmon did")
    assert last.endswith("(busmon trace ID): lost")
    assert bench.watch.status()["archive_differences"] == [found._asdict()]
    bench.now += 3 * DAY_SECONDS
    assert bench.refresh().evidence[-1] != last
    assert bench.watch.status()["archive_differences"] == []
    bench.ledger.close()
