"""Blind times are filled from a real Datagrepper: each message is accounted for exactly once."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from itertools import count
from uuid import uuid4

import pytest

from busmon.archive.bound import BoundTopics
from busmon.archive.client import ALIVE_SECONDS, Unanswered
from busmon.archive.client import Datagrepper as Client
from busmon.archive.fill import BlindTimeFiller, Filling
from busmon.commands.trace import as_text, find_message
from busmon.ledger.batch import Observation, Series
from busmon.ledger.filled import Fill, FillState
from busmon.ledger.search import Criteria
from busmon.ledger.values import Interval
from busmon.message import Stage
from busmon.pipeline import Pipeline
from busmon.rules import Rules, rule_set
from busmon.rules.subjects import Subjects
from tests.archive.test_client import answering, body, result
from tests.support.audit import BUS, NOW, AuditBench
from tests.support.datagrepper import Datagrepper, Sent, settings

COPR = "org.fedoraproject.prod.copr.build.end"
TAG = "org.fedoraproject.prod.buildsys.tag"
OTHER = "org.fedoraproject.prod.wiki.edit"
NOWHERE = "http://127.0.0.1:1"
# Each test has a day of its own, since all share an archive, and none that is really today: other
# tests send messages of now.
DAYS = count(2_000)
OURS = {"user": "packit"}


class FillBench:
    """An audit bench whose windows are closed long after a blind time, and its filler."""

    def __init__(self, url: str, keys: Sequence[str] = (COPR, TAG)) -> None:
        self.start = NOW + next(DAYS) * 86400
        self.now = self.start + 7200.0
        self.url, self.keys = url, keys
        self.audit = AuditBench()
        with self.audit.ledger.write() as tables:
            tables.windows.advance(NOW, self.start)
        self.audit.restart()
        self.audit.watch("tap", self.start - 100, self.start + 3600)
        self.restart()

    def restart(self) -> None:
        rules = {BUS: rule_set("packit", Rules())}
        self.pipeline = Pipeline(
            self.audit.ledger, rules, {BUS: []}, 10, lambda _: None, Subjects(["tag"])
        )

    def blind(self, *spans: tuple[float, float]) -> None:
        """Let busmon be blind in these times after the start, and close the windows of then."""
        times = [(self.start + since, self.start + until) for since, until in spans]
        self.audit.blind(*times, watched_until=self.now)
        end = spans[-1][1] + 200
        for _ in range(int(end // 10)):
            self.audit.windows.close_next(self.start + end)

    def filler(self) -> BlindTimeFiller:
        audit = self.audit
        scope = audit.observed.scope(BUS)
        filling = Filling(
            *(BUS, BoundTopics(self.keys), self.pipeline, scope, audit.settings),
            *(7 * 86400, audit.windows.refresh),
        )
        return BlindTimeFiller(Client(settings(self.url)), audit.ledger, filling)

    def fill(self, filler: BlindTimeFiller | None = None, steps: int = 1000) -> BlindTimeFiller:
        """Fill until there is no more to do, or so many steps."""
        filler = filler or self.filler()
        for _ in range(steps):
            if not filler.step(self.now):
                break
        return filler

    def fills(self) -> list[Fill]:
        with self.audit.ledger.read() as tables:
            return tables.filled.fills(BUS)

    def totals(self) -> dict[tuple[str, str], int]:
        with self.audit.ledger.read() as tables:
            return tables.filled.totals(BUS)

    def alive(self) -> Sent:
        """Return a message that shows that the archive is up to date."""
        return Sent(str(uuid4()), "org.example.alive", self.now - 5)


Make = Callable[..., FillBench]


@pytest.fixture
def make() -> Iterator[Make]:
    benches: list[FillBench] = []

    def bench(*arguments: object) -> FillBench:
        benches.append(FillBench(*arguments))  # type: ignore[arg-type] # those of a FillBench
        return benches[-1]

    yield bench
    for one in benches:
        one.audit.ledger.close()


def sent(at: float, topic: str = COPR, **body: object) -> Sent:
    return Sent(str(uuid4()), topic, at, body or OURS)


def test_each_message_is_accounted_for_exactly_once(datagrepper: Datagrepper, make: Make) -> None:
    """Also 500 messages of one second, and if busmon is killed again and again meanwhile."""
    bench = make(datagrepper.url)
    start, ledger = bench.start, bench.audit.ledger
    before, after = sent(start + 5), sent(start + 70)
    in_one_second = [sent(start + 30) for _ in range(500)]
    others = [sent(start + 10 + n / 10) for n in range(250)]
    ignored = [sent(start + 40, user="somebody"), sent(start + 41, TAG, tag="f99")]
    unbound = [sent(start + 20, OTHER) for _ in range(30)]
    datagrepper.add([before, *in_one_second, *others, *ignored, *unbound, after, bench.alive()])
    missed = {in_one_second[7].id, others[200].id, others[3].id}
    for one in (before, after):
        bench.audit.receive(one.id, at=one.at + 0.2, topic=COPR)
    passed = [one.id for one in (before, after, *in_one_second, *others) if one.id not in missed]
    bench.audit.report(*passed, at=start + 80)
    bench.blind((8, 60))

    for steps in [*range(1, 9)] * 2:
        bench.fill(steps=steps)  # then it is killed
    assert not bench.filler().step(bench.now)
    assert bench.fills() == [
        Fill(start + 8, start + 60, FillState.FILLED, start + 120, 752, seen=bench.fills()[0].seen)
    ]
    assert bench.totals() == {(COPR, "handled"): 750, (COPR, "ignored"): 1, (TAG, "ignored"): 1}
    assert [(one.topic, n.messages) for one, n in ledger.counts().items() if n.messages] == [
        (COPR, 2)
    ]
    with ledger.read() as tables:
        [hit] = tables.search.find(Criteria((("tag f99",),)), 10).hits
    assert hit.id == ignored[1].id  # it has its keys, too
    assert bench.audit.missing() == {(Stage.LISTENER, one) for one in missed}
    totals = bench.audit.totals(COPR)
    assert (totals[Stage.BUS].messages, totals[Stage.LISTENER][:2]) == (752, (749, 3))

    series = Series(BUS, COPR, "handled", "")
    late = [Observation(series, one.id, bench.now) for one in in_one_second[:20]]
    assert ledger.record(late).duplicates == 20, "the broker delivers them after all"
    bench.audit.report(*missed, at=bench.now)
    bench.audit.correct(bench.now)
    assert bench.audit.missing() == set(), "the gap is healed"


def test_filled_messages_say_nothing_of_silence_delays_and_service_levels(
    datagrepper: Datagrepper, make: Make
) -> None:
    bench = make(datagrepper.url)
    one = sent(bench.start + 20)
    datagrepper.add([one, bench.alive()])
    bench.audit.report(one.id, at=bench.start + 25)
    bench.blind((8, 60))
    filler = bench.fill()
    [line] = filler.history()
    assert line.endswith(": filled from the archive, 1 message")
    ledger = bench.audit.ledger
    assert ledger.counts()[Series(BUS, COPR, "handled", "")].last_received is None
    with ledger.read() as tables:
        assert list(tables.hourly_sums.between(0, int(bench.now // 3600) + 1)) == []
        assert list(tables.delays.reported(BUS, 0, bench.now)) == []
        assert tables.service_levels.handled(BUS, 0, 100, 100) == []
        [record] = tables.messages.find(one.id)
        assert (record.filled, record.received_at, record.report) == (True, one.at, "passed")
        assert tables.messages.count() == 1
        text = as_text(one.id, find_message(tables, one.id, None, bench.now), None)
        day = f"{datetime.fromtimestamp(one.at, UTC):%Y-%m-%d}"
        assert f"received  not by busmon, which was away; by the archive, sent {day}" in text
    ledger.prune(bench.now + 8 * 86400, 7 * 86400)
    assert ledger.size()[0] == 0


def test_a_hole_of_the_archive_is_reported(datagrepper: Datagrepper, make: Make) -> None:
    """Three hours without a message in the second one; a time without any; and a lost message."""
    hole, nothing, lacking = (make(datagrepper.url) for _ in range(3))
    hole.now += 7200
    datagrepper.add([sent(hole.start + 100), sent(hole.start + 8000), hole.alive()])
    hole.blind((60, 9000))
    datagrepper.add([nothing.alive()])
    nothing.blind((8, 60))
    datagrepper.add([sent(lacking.start + 20), lacking.alive()])
    received = Series(BUS, COPR, "handled", "")
    at = lacking.start + 5
    lacking.audit.ledger.record([Observation(received, str(uuid4()), at, at)])
    lacking.blind((8, 60))
    states = []
    for bench in (hole, nothing, lacking):
        bench.fill()
        states += [(one.state, one.messages, one.holes) for one in bench.fills()]
    assert states == [
        (FillState.PARTLY, 2, 1),
        (FillState.NOT, 0, 1),
        (FillState.PARTLY, 1, 1),
    ]


def test_what_may_have_been_pruned_is_not_filled(datagrepper: Datagrepper, make: Make) -> None:
    """It would count twice."""
    bench = make(datagrepper.url)
    ids = [sent(bench.start + at) for at in (5, 2900, 2970)]
    datagrepper.add([*ids, bench.alive()])
    for one in ids[:2]:
        bench.audit.receive(one.id, at=one.at, topic=COPR)
    with bench.audit.ledger.write() as tables:
        assert tables.messages.prune(None, 1) == 1, "the ledger reached its size limit"
    bench.blind((8, 30), (2950, 3000))
    bench.fill()
    [fill] = bench.fills()
    assert (fill.since, fill.state, fill.messages) == (bench.start + 2950, FillState.PARTLY, 1)


def test_with_a_wildcard_the_topics_that_match_are_filled(
    datagrepper: Datagrepper, make: Make
) -> None:
    bench = make(datagrepper.url, ["org.fedoraproject.prod.buildsys.#"])
    start = bench.start
    datagrepper.add(
        [sent(start + n % 50, COPR if n % 3 else TAG, tag="f9-side-1") for n in range(300)]
    )
    datagrepper.add([bench.alive()])
    bench.audit.receive("before", at=start, topic=COPR)
    bench.blind((8, 60))
    bench.fill()
    assert bench.totals() == {(TAG, "handled"): 100}


def test_the_archive_is_not_asked_too_early(make: Make) -> None:
    """This one would not answer."""
    bench = make(NOWHERE)
    bench.blind((8, 60))

    def asks(now: float) -> bool:
        try:
            return bench.filler().step(now)
        except Unanswered:
            return True

    end = bench.start + 60
    assert not asks(end + 100), "it has just reconnected"
    assert asks(end + 130)
    bench.audit.ledger.record([Observation(Series(BUS, COPR, "handled", ""), "1", end + 50, end)])
    assert asks(end + 180), "that was sent after the blind time"
    late = [Observation(Series(BUS, COPR, "handled", ""), "2", end + 100, end - 30)]
    bench.audit.ledger.record(late)
    assert not asks(end + 180), "its queue still delivers what it kept"
    assert asks(end + 230)
    with bench.audit.ledger.write() as tables:
        tables.blind_times.save(BUS, end + 240, 0, [Interval(end + 240, end + 241)])
    assert not asks(end + 400), "it does not receive now"


def test_an_archive_that_lags_is_asked_again_later(datagrepper: Datagrepper, make: Make) -> None:
    bench = make(datagrepper.url)
    one = sent(bench.start + 20)
    bench.blind((8, 60))
    bench.now = bench.start + 400
    datagrepper.add([sent(bench.start + 380, OTHER)])
    filler = bench.filler()
    assert filler.step(bench.now), "it asks how far the archive is"
    assert not filler.step(bench.now)
    assert [fill.state for fill in bench.fills()] == [FillState.WAITING]
    datagrepper.add([one, sent(bench.start + 480, OTHER)])
    bench.now = bench.start + 500
    bench.fill(filler)
    assert [(fill.state, fill.messages) for fill in bench.fills()] == [(FillState.FILLED, 1)]


ODD: list[dict[str, object]] = [
    {"id": ""},
    {"id": "i" * 10_000},
    {"topic": "t" * 1000},
    {"topic": "a\0\n"},
    {"headers": {"sent-at": None, "fedora_messaging_schema": [{}]}},
    {"headers": {"fedora_messaging_severity": {}}, "body": [[[[1e308]]]]},
    {"body": None},
    {"body": "x" * 3_000_000},
]


def test_whatever_the_archive_has_the_thread_goes_on(make: Make) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        now = datetime.fromtimestamp(bench.now - 5, UTC).isoformat()
        of_now = f"start={int(bench.now) - ALIVE_SECONDS}&" in request.path
        alive = {"id": "0", "topic": "a", "headers": {"sent-at": now} if of_now else {}}
        usual = {"topic": COPR, "headers": {}, "body": OURS}
        odd = [{"id": str(number)} | usual | one for number, one in enumerate(ODD)]
        body(result(len(odd), *odd) if "order=asc" in request.path else result(1, alive))(request)

    with answering(answer) as url:
        bench = make(url, ["#"])
        bench.blind((8, 60))
        bench.fill()
    [fill] = bench.fills()
    assert (fill.state, fill.messages) == (FillState.FILLED, len(ODD))
    assert sum(bench.totals().values()) == len(ODD)
    assert len({topic for topic, _ in bench.totals()}) == 3


def test_filled_topics_count_against_the_limit_over_a_restart(
    datagrepper: Datagrepper, make: Make
) -> None:
    bench = make(datagrepper.url, ["#"])
    blind: list[tuple[float, float]] = []
    for at, topics in ((20, range(8)), (2000, range(8, 30))):
        datagrepper.add([sent(bench.start + at, f"a.b.c.topic{n}") for n in topics])
        datagrepper.add([bench.alive()])
        blind.append((at - 10, at + 10))
        bench.blind(*blind)
        bench.fill()
        bench.restart()
    assert len(bench.totals()) == 11, "ten, and one for all others"
    assert sum(bench.totals().values()) == 30
