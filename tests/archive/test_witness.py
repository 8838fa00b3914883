"""The archive as a second witness, and the verdict, whatever it answers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from uuid import uuid4

import pytest

from busmon.archive.client import Unanswered
from busmon.diagnosis.verdict import FaultKind, Verdict
from busmon.ledger.archive import Span
from busmon.ledger.batch import Series
from busmon.ledger.ledger import Ledger
from busmon.silence.rates import WEEK_HOURS
from tests.archive.test_client import answering, body, message, result
from tests.ledger.past import past
from tests.support.datagrepper import Datagrepper, Sent
from tests.support.diagnosis import Bench
from tests.support.ledgers import NOW

HOUR, DAY = 3600.0, 86400.0
STOPPED, FLOWING = (f"org.example.{name}.{uuid4()}" for name in ("stopped", "flowing"))
KNOWN = [str(uuid4()) for _ in range(3)]


def sent(topic: str, *ages: float) -> list[tuple[str, str, float]]:
    return [(str(uuid4()), topic, age) for age in ages]


ALIVE = sent("org.example.another", 5)
AS_USUAL = [*ALIVE, *sent(FLOWING, *(age * HOUR / 2 for age in range(160)))]
AWAY_BEFORE = [one for one in AS_USUAL if one[2] < 30 * HOUR]
LOST = sent(STOPPED, 30 * HOUR, 20 * HOUR, 10 * HOUR, HOUR, 60)
IN_BLIND_TIME = sent(STOPPED, *(2.4 * HOUR - 60 * n for n in range(5)))

# What the archive has, as ages; the verdict, and what of the evidence matters.
CASES = {
    "the archive has nothing of it either": (
        AS_USUAL,
        FaultKind.PUBLISHER,
        "confirmed by the archive, which has received nothing more either: STOPPED",
    ),
    "the archive has messages that busmon lacks": (
        [*AS_USUAL, *LOST],
        FaultKind.CONNECTION,
        "the archive has 3 messages of STOPPED since",  # the others came in a blind time, or late
    ),
    "they came, and the clock of their publisher was ahead": (
        [*AS_USUAL, *((one, STOPPED, HOUR) for one in KNOWN)],
        FaultKind.PUBLISHER,
        "confirmed by the archive",
    ),
    "they were sent while busmon was blind": (
        [*AS_USUAL, *IN_BLIND_TIME],
        FaultKind.PUBLISHER,
        "confirmed by the archive",
    ),
    "a single message is no evidence": (
        [*AS_USUAL, *LOST[:1]],
        FaultKind.PUBLISHER,
        "cannot tell whether messages were lost (STOPPED): it has 1 message that busmon lacks",
    ),
    "the archive lacks what busmon has of other topics": (
        ALIVE,
        FaultKind.PUBLISHER,
        "cannot tell whether messages were lost (STOPPED): it has holes: 0 messages of other",
    ),
    "the archive had a hole when the topic stopped, and none since": (
        AWAY_BEFORE,
        FaultKind.PUBLISHER,
        "(STOPPED): it has holes: 31 messages of other topics",
    ),
    "the archive has messages in spite of its holes": (
        [*ALIVE, *LOST],
        FaultKind.CONNECTION,
        "the archive has 3 messages of STOPPED since",
    ),
    "the archive is not up to date": (
        sent("org.example.another", 700),
        FaultKind.PUBLISHER,
        "(STOPPED): has no message of the last ten minutes, so it is not up to date",
    ),
}


@contextmanager
def silent(url: str, now: float = NOW) -> Iterator[Bench]:
    """Yield a bus of which one topic stopped two days ago, and another is as usual.

    busmon was blind in the last 2.4 hours.
    """
    bench = Bench(now=now - 2.4 * HOUR, archive=url)
    bench.now = now
    bench.refresh()
    for one in KNOWN:
        bench.receive(one, STOPPED)
    bench.past(STOPPED, 2 * DAY)
    bench.past(FLOWING, 60)
    bench.silence.learn(now)
    yield bench
    bench.ledger.close()


def ask(bench: Bench) -> Verdict:
    """Let the archive be asked all there is to ask, and return the verdict."""
    assert bench.witness
    try:
        while bench.witness.step(bench.now):
            pass
    except Unanswered:
        pass
    return bench.refresh()


@pytest.mark.parametrize("case", CASES)
def test_what_the_archive_has_decides_between_publisher_and_connection(
    datagrepper: Datagrepper, case: str
) -> None:
    has, kind, words = CASES[case]
    now = NOW + 100 * DAY * (1 + list(CASES).index(case))  # each has a time of its own
    datagrepper.add(Sent(identity, topic, now - age) for identity, topic, age in has)
    with silent(datagrepper.url, now) as bench:
        verdict = ask(bench)
    evidence = "\n".join(verdict.evidence)
    assert verdict.kind is kind, evidence
    assert words.replace("STOPPED", STOPPED) in evidence


def test_a_topic_that_never_came_says_nothing_of_the_archives_holes(
    datagrepper: Datagrepper,
) -> None:
    never, now = f"org.example.never.{uuid4()}", NOW + 4000 * DAY
    datagrepper.add(
        Sent(one, topic, now - age)
        for one, topic, age in [*ALIVE, *sent(never, *(age * HOUR / 2 for age in range(160)))]
    )
    bench = Bench(now=now - 2.4 * HOUR, archive=datagrepper.url, expected={never: int(DAY)})
    bench.now = now
    bench.refresh()
    hours = range(int((now - 2 * DAY) // HOUR), int(now // HOUR))
    before = Span(hours[0] - 8 * WEEK_HOURS, hours[0])
    with bench.ledger.write() as tables:
        for topic in (STOPPED, FLOWING, never):
            sums = dict.fromkeys(range(*before), 2)
            tables.archive_sums.add_before("fedora", topic, before, sums)
    for topic, known, age in ((STOPPED, hours[:1], 2 * DAY), (FLOWING, hours, 60)):
        series = Series("fedora", topic, "handled", "")
        past(bench.ledger, series, dict.fromkeys(known, 2), now - age)
    bench.silence.learn(now)
    states = {topic.name: state for topic, state in bench.silence.states(now).items()}
    assert states[never].ready
    assert not states[never].silent
    evidence = "\n".join(ask(bench).evidence)
    bench.ledger.close()
    assert f"({STOPPED}): it has holes: 0 messages of other topics" in evidence


@pytest.mark.parametrize(
    ("ages", "kind"), [([], FaultKind.BUS), ([HOUR, 2 * HOUR], FaultKind.CONNECTION)]
)
def test_the_archive_is_asked_for_a_topic_that_has_to_come_and_never_did(
    datagrepper: Datagrepper, tmp_path: Path, ages: list[float], kind: FaultKind
) -> None:
    never, now = f"org.example.never.{uuid4()}", NOW + 5000 * DAY
    datagrepper.add(Sent(one, topic, now - age) for one, topic, age in sent(never, *ages, 3 * DAY))
    alive = sent("org.example.another", 5)
    datagrepper.add(Sent(one, topic, now - age) for one, topic, age in alive)
    path = str(tmp_path / "ledger.sqlite")
    earlier = Ledger(path)
    with earlier.write() as tables:
        tables.silence.set_awaited({("fedora", never): now - 2 * DAY})
    earlier.close()
    bench = Bench(now=now, path=path, archive=datagrepper.url, expected={never: int(DAY)})
    verdict = ask(bench)
    bench.ledger.close()
    assert verdict.kind is kind, verdict.evidence
    if ages:
        assert f"the archive has 2 messages of {never} since" in verdict.evidence[0]


Serve = Callable[[BaseHTTPRequestHandler], None]
ODD = {
    "an error": body(b"{}", 502),
    "a page": body(b"<!DOCTYPE html><title>Fedora</title>"),
    "another shape": body(b'{"total": "many", "raw_messages": {}}'),
    "messages of another time": body(result(2, *[message("2020-01-01T00:00:00")] * 2)),
    "no message at all": body(result(0)),
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("odd", ODD)
def test_an_archive_that_fails_changes_nothing_but_what_is_unknown(odd: str) -> None:
    with answering(ODD[odd]) as url, silent(url) as bench:
        before = bench.refresh().evidence
        for _ in range(3):
            assert ask(bench).kind is FaultKind.PUBLISHER
        *after, unknown = bench.verdict().evidence
        assert tuple(after) == before
        assert unknown.startswith(f"the archive cannot tell whether messages were lost ({STOPPED})")


def test_an_answer_that_is_too_old_says_nothing(datagrepper: Datagrepper) -> None:
    now = NOW + 90 * DAY
    datagrepper.add(Sent(one, topic, now - age) for one, topic, age in [*AS_USUAL, *LOST])
    with silent(datagrepper.url, now) as bench:
        assert ask(bench).kind is FaultKind.CONNECTION
        assert bench.wait(9 * 60).kind is FaultKind.CONNECTION
        bench.now += 4 * HOUR
        bench.past(FLOWING, 1)
        assert bench.refresh().kind is FaultKind.PUBLISHER


def test_a_topic_that_is_low_is_shown_with_what_the_archive_has() -> None:
    low, hour, asked = "org.example.low", int(NOW // HOUR), []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(topic := request.path.partition("topic=")[2])
        total = 480 if topic == low else 1
        at = "2026-09-21T13:59:00" if topic else "2026-09-21T14:13:15"
        body(result(total, message(at, topic or "org.example.alive")))(request)

    with answering(answer) as url:
        bench = Bench(archive=url)
        usual = dict.fromkeys(range(hour - 12 * WEEK_HOURS, hour), 20)
        few = dict.fromkeys(range(hour - 72, hour), 2)
        past(bench.ledger, Series("fedora", low, "handled", ""), usual | few, NOW - 60)
        bench.silence.learn(NOW)
        verdict = ask(bench)
        bench.now += 20
        bench.receive("another", low)  # it is still low
        assert ask(bench).evidence[-1] == verdict.evidence[-1]
    both = f"since 2026-09-20 14:00:00 UTC the archive has 480 messages of {low}, and busmon"
    assert (verdict.kind, verdict.evidence[-1]) == (FaultKind.NONE, f"{both} received 48")
    assert asked == ["", low]
    bench.ledger.close()


def test_a_question_that_fails_holds_up_no_other() -> None:
    """Neither the one for the holes, nor one for another silent topic."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        topic = request.path.partition("topic=")[2]
        content = result(1, message("2026-09-21T14:13:15", topic or "org.example.alive"))
        if topic == STOPPED:
            lost = message("2026-09-20T12:00:00", topic)
            content = result(2, lost, lost | {"id": "2"})
        body(content, 200 if topic in {"", STOPPED} else 502)(request)

    with answering(answer) as url, silent(url) as bench:
        bench.past("org.example.fails", DAY)
        bench.silence.learn(bench.now)
        verdicts = [ask(bench) for _ in range(6)]
    assert verdicts[-1].kind is FaultKind.CONNECTION
    found = "\n".join(verdicts[-1].evidence)
    assert f"the archive has 2 messages of {STOPPED}" in found
    assert "(org.example.fails): it did not answer for this topic" in found
