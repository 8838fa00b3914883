"""Messages are found by what they are about, by series and by time: the newest first."""

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from uuid import UUID

import pytest

from busmon.ledger.batch import Observation, Series
from busmon.ledger.engines import LedgerPlace
from busmon.ledger.ledger import Ledger
from busmon.ledger.search import Criteria, Search
from busmon.ledger.subjects import BLOCK
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import NOW, database_at

TOPICS = "org.example.build.end", "org.example.tag"
OUTCOMES = "handled", "ignored"
NUMBER = BLOCK + 100  # messages, one a second, in two blocks


def observation(number: int) -> Observation:
    """Return a message of one of eight series; each third has no key."""
    keys = () if number % 3 == 0 else (f"build {number // 5}", f"package p{number % 7}")
    series = Series(
        ("fedora", "centos")[number // 4 % 2], TOPICS[number // 2 % 2], OUTCOMES[number % 2], ""
    )
    return Observation(series, str(UUID(int=number)), NOW + number, keys=keys)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ledger(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ledger]:
    place: LedgerPlace = str(tmp_path_factory.mktemp("search") / "ledger.sqlite")
    if request.param == "postgresql":
        server: LedgerServer = request.getfixturevalue("ledger_server")
        place = database_at(server.url_of(server.database()))
    with closing(Ledger(place)) as ledger:
        ledger.record([observation(number) for number in range(1, NUMBER + 1)])
        yield ledger


def found(ledger: Ledger, criteria: Criteria, limit: int = 150) -> Iterator[int]:
    """Yield the numbers of all messages that are found, search by search."""
    before: int | None = None
    while True:
        with ledger.read() as tables:
            part = tables.search.find(criteria, limit, before)
        assert len(part.hits) <= limit
        for hit in part.hits:
            assert hit.id == str(UUID(int=hit.seq))
            assert hit.keys == observation(hit.seq).keys
            yield hit.seq
        if part.before is None:
            return
        before = part.before


def expected(criteria: Criteria) -> list[int]:
    return [
        number
        for number in range(NUMBER, 0, -1)
        for one in [observation(number)]
        if all(set(word) & set(one.keys) for word in criteria.words)
        and criteria.bus in {None, one.series.bus}
        and (criteria.topic is None or one.series.topic.endswith(criteria.topic))
        and criteria.outcome in {None, one.series.outcome}
        and (criteria.since is None or one.received_at >= criteria.since)
        and (criteria.until is None or one.received_at < criteria.until)
    ]


PACKAGE, OTHER = ("package p1",), ("package p2", "nvr p2", "build 1")
SINCE, UNTIL = NOW + 500, NOW + 4100


@pytest.mark.parametrize(
    "criteria",
    [
        Criteria((("build 800",),)),
        Criteria((PACKAGE,)),
        Criteria((OTHER,), outcome="ignored", since=SINCE, until=UNTIL),
        Criteria((PACKAGE, tuple(f"build {number}" for number in range(500, 600)))),
        Criteria((PACKAGE, ("package p2",))),
        Criteria((("package p",),)),
        Criteria(((),)),
        Criteria(since=SINCE, until=UNTIL, bus="centos", topic="tag"),
        Criteria(bus="fedora", outcome="handled"),
        Criteria(topic="no.topic"),
        Criteria(until=NOW),
        Criteria(),
    ],
    ids=str,
)
def test_a_search_finds_each_message_once_the_newest_first(
    ledger: Ledger, criteria: Criteria
) -> None:
    assert list(islice(found(ledger, criteria), 1000)) == expected(criteria)[:1000]


@pytest.mark.parametrize(
    "criteria",
    [
        Criteria(),
        Criteria(bus="centos"),
        Criteria(bus="fedora"),
        Criteria(topic="tag"),
        Criteria(outcome="handled", since=NOW + 77),
        Criteria(since=NOW + 78),
        Criteria(until=NOW + 77),
    ],
    ids=str,
)
def test_what_has_an_id_and_matches_is_found_by_it(ledger: Ledger, criteria: Criteria) -> None:
    with ledger.read() as tables:
        found = tables.search.by_id(str(UUID(int=77)), criteria, 10)
        assert tables.search.by_id("77", criteria, 10) == []
    assert [hit.seq for hit in found] == [number for number in expected(criteria) if number == 77]
    assert all(hit.keys == observation(77).keys for hit in found)


def test_a_search_reads_a_bounded_part_and_says_where_to_go_on(ledger: Ledger) -> None:
    with ledger.read() as tables:
        db = tables.search._db  # noqa: SLF001 - for a search with another limit
        part = Search(db, scans=1).find(Criteria((PACKAGE,)), 1000)
        assert [hit.seq for hit in part.hits] == [
            n for n in expected(Criteria((PACKAGE,))) if n >= BLOCK
        ]
        assert part.before == BLOCK


def test_a_search_looks_at_so_many_blocks_and_says_where_to_go_on(ledger: Ledger) -> None:
    with ledger.read() as tables:
        search = Search(tables.search._db, blocks=1)  # noqa: SLF001 - as above
        part = search.find(Criteria((("build 1",),)), 10)
        assert (part.hits, part.before) == ([], BLOCK)
        part = search.find(Criteria((("build 1",),)), 10, part.before)
        assert ({hit.seq for hit in part.hits}, part.before) == ({5, 7, 8}, None)


def test_what_was_recorded_minutes_after_its_receipt_is_found() -> None:
    """A bus hung, for example, and another one went on."""
    series = Series("fedora", TOPICS[0], "handled", "")
    late = [*range(30, 590, 30)]
    order = [*range(-1200, 30, 30), 590, *late]
    with closing(Ledger(":memory:")) as ledger:
        ledger.record([Observation(series, str(at), NOW + at) for at in order])
        for since, until, expected in (
            (300.0, None, {at for at in order if at >= 300}),
            (None, 500.0, {at for at in order if at < 500}),
        ):
            criteria = Criteria(
                since=None if since is None else NOW + since,
                until=None if until is None else NOW + until,
            )
            with ledger.read() as tables:
                hits = tables.search.find(criteria, 100).hits
            assert {int(hit.id) for hit in hits} == expected
