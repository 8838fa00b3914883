"""The way of a message: judged by the rules of its bus, and its topic within the limit."""

import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from busmon.ledger.batch import Count, Series
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger, Recorded
from busmon.ledger.messages import MessageTrace
from busmon.ledger.open_messages import OpenMessage, State
from busmon.ledger.windows import Place, Totals, WindowRow
from busmon.message import Judgement, Message, Outcome, Stage
from busmon.pipeline import RELEASE_SECONDS, Pipeline
from busmon.rules import Rules, rule_set
from busmon.rules.centos import CentosRules
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import database_at
from tests.support.sources import count

COPR = "org.fedoraproject.prod.copr.build.start"
NOT_JSON = Judgement(Outcome.INVALID, "not-json")
RULE_SETS = {
    "fedora": rule_set("packit", Rules()),
    "centos": rule_set("centos", Rules(centos=CentosRules(subtopics=("git.",)))),
    "other": rule_set("all", Rules()),
}
REJECTIONS = {"fedora": [NOT_JSON], "centos": [NOT_JSON], "other": []}


def messages(bus: str, *topics: str, at: float = 1.0, **fields: Any) -> list[Message]:
    """Return a message for each topic."""
    ids = (str(uuid4()) for _ in topics)
    return [
        Message(bus=bus, id=identity, topic=topic, received_at=at, **fields)
        for identity, topic in zip(ids, topics, strict=True)
    ]


class Watched:
    """A pipeline on a ledger, and what it recorded."""

    def __init__(self, ledger: Ledger, unknown_topics: int = 2) -> None:
        self.observed: list[Recorded] = []
        self.pipeline = Pipeline(
            ledger, RULE_SETS, REJECTIONS, unknown_topics, self.observed.append
        )
        self._ledger = ledger

    def send(self, bus: str, *topics: str, at: float = 1.0, **fields: Any) -> None:
        """Hand over a batch, one message for each topic."""
        count(self.pipeline, messages(bus, *topics, at=at, **fields))

    def counts(self, bus: str = "other") -> dict[str, int]:
        """The messages by topic, where there are any."""
        counts = self._ledger.counts().items()
        return {s.topic: n.messages for s, n in counts if s.bus == bus and n.messages}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(f"{tmp_path}/ledger")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("bus", "topic", "fields", "outcome", "reason"),
    [
        ("fedora", COPR, {"body": {"user": "packit"}}, "handled", ""),
        ("fedora", COPR, {"body": {"user": "else"}}, "ignored", "not-packit-user"),
        ("fedora", COPR, {"rejected": NOT_JSON}, "invalid", "not-json"),
        ("fedora", "org.fedoraproject.prod.buildsys.tag", {"body": {}}, "error", "rule-raises"),
        ("fedora", "git.centos.org/git.receive", {"body": {}}, "unmapped", ""),
        ("centos", "git.centos.org/git.receive", {"body": {}}, "handled", ""),
        ("other", "a.topic", {}, "handled", ""),
    ],
)
def test_a_message_is_judged_by_the_rules_of_its_bus(
    ledger: Ledger, bus: str, topic: str, fields: dict[str, Any], outcome: str, reason: str
) -> None:
    Watched(ledger).send(bus, topic, **fields)
    counted = {series: count for series, count in ledger.counts().items() if count.messages}
    assert counted == {Series(bus, topic, outcome, reason): Count(1, 1.0)}


def test_every_series_of_the_rules_and_the_source_starts_at_zero(ledger: Ledger) -> None:
    Watched(ledger)
    known = ledger.counts()
    assert set(known.values()) == {Count()}
    assert {series[2:] for series in known if series.topic == COPR} == {
        ("handled", ""),
        ("ignored", "not-packit-user"),
        ("invalid", "not-json"),
        ("error", "rule-raises"),
    }
    # A body that is not JSON ends this consumer.
    assert {series[2:] for series in known if series.topic == "git.centos.org/git.receive"} == {
        ("handled", ""),
        ("error", "rule-raises"),
    }
    topics = {bus: {series.topic for series in known if series.bus == bus} for bus in RULE_SETS}
    assert topics == {
        bus: {topic for topic, _ in rules.known_series()} for bus, rules in RULE_SETS.items()
    }


def test_what_was_recorded_is_observed_batch_by_batch(ledger: Ledger) -> None:
    watched = Watched(ledger)
    watched.send("other", "a", "b")
    watched.send("other", "a")
    assert [len(batch.new) for batch in watched.observed] == [2, 1]


def test_nothing_is_counted_nor_observed_if_the_ledger_fails(ledger: Ledger) -> None:
    watched = Watched(ledger)
    ledger.close()
    with pytest.raises(LedgerWriteError):
        watched.send("other", "a")
    assert watched.observed == []
    assert watched.counts() == {}


def test_unknown_topics_past_the_limit_share_a_name_after_a_restart_too(ledger: Ledger) -> None:
    Watched(ledger).send("other", "a", "b", "c", "a", "d")
    Watched(ledger).send("other", "d", "b")
    assert ledger.counts().keys() >= {Series("other", "__other__", "handled", "")}
    assert Watched(ledger).counts() == {"a": 2, "b": 2, "__other__": 3}


def test_busmons_with_one_ledger_share_the_room_for_unknown_topics(
    ledger_server: LedgerServer,
) -> None:
    database = database_at(ledger_server.url_of(ledger_server.cleared()))
    with closing(Ledger(database)) as leader, closing(Ledger(database, follows=True)) as follower:
        one, other = Watched(leader), Watched(follower)
        judged = [other.pipeline.judge(each) for each in messages("other", "a", "c")]
        one.send("other", "a", "b")
        other.pipeline.record(judged)
        assert one.counts() == other.counts() == {"a": 2, "b": 1, "__other__": 1}


def test_several_busmons_name_topics_as_a_single_one_would(
    ledger: Ledger, ledger_server: LedgerServer
) -> None:
    """Also if topics no longer come, and come again."""
    database, rng = database_at(ledger_server.url_of(ledger_server.cleared())), random.Random(3)
    with closing(Ledger(database)) as leader, closing(Ledger(database, follows=True)) as follower:
        single, one, other = (Watched(of) for of in (ledger, leader, follower))
        named = set[str]()
        for at in range(60):
            one.pipeline.check()  # after a write it knows what the other one has counted
            if rng.random() < 0.2:
                single.pipeline.release_topics()
                one.pipeline.release_topics()
            topics = rng.choices("abcdef", k=rng.randint(1, 3))
            now = 1.0 + at * RELEASE_SECONDS / 3
            single.send("other", *topics, at=now)
            rng.choice([one, other]).send("other", *topics, at=now)
            one.pipeline.check()
            assert one.counts() == single.counts()
            named |= single.counts().keys()
        assert named == {*"abcdef", "__other__"}  # so some were released


def test_a_higher_limit_gives_further_topics_their_own_name(ledger: Ledger) -> None:
    Watched(ledger).send("other", "a", "b", "c")
    watched = Watched(ledger, unknown_topics=3)
    watched.send("other", "c", "d")
    assert watched.counts() == {"a": 1, "b": 1, "c": 1, "__other__": 2}


def test_topics_that_the_rules_know_take_no_room_and_are_never_folded(ledger: Ledger) -> None:
    watched = Watched(ledger, unknown_topics=0)
    watched.send("fedora", COPR, "unknown")
    assert watched.counts("fedora") == {COPR: 1, "__other__": 1}


def test_a_topic_that_no_longer_comes_gives_its_series_up(tmp_path: Path) -> None:
    path, later = f"{tmp_path}/ledger", RELEASE_SECONDS + 2
    with closing(Ledger(path)) as ledger:
        watched = Watched(ledger)
        watched.send("other", "a", "b", "b", "c")
        watched.send("other", "a", at=later - 2)
        watched.pipeline.release_topics()
        assert watched.counts() == {"a": 2, "b": 2, "__other__": 1}
        watched.send("other", "a", "d", at=later)
        watched.pipeline.release_topics()
        assert watched.counts() == {"a": 3, "__other__": 4}
        assert ledger.counts()[Series("other", "__other__", "handled", "")].last_received == later
        watched.send("other", "d", "b", at=later)
        assert watched.counts() == {"a": 3, "__other__": 5, "d": 1}
    with closing(Ledger(path)) as ledger:
        again = Watched(ledger)
        assert again.counts() == {"a": 3, "__other__": 5, "d": 1}
        again.send("other", "b", at=later)
        assert again.counts() == {"a": 3, "__other__": 6, "d": 1}


def test_topics_that_the_rules_know_keep_their_series(ledger: Ledger) -> None:
    watched = Watched(ledger)
    watched.send("fedora", COPR, "unknown")
    watched.send("fedora", "another", at=2 * RELEASE_SECONDS)
    watched.pipeline.release_topics()
    assert watched.counts("fedora") == {COPR: 1, "another": 1, "__other__": 1}


def test_a_bus_that_brings_nothing_keeps_its_topics(ledger: Ledger) -> None:
    watched = Watched(ledger)
    watched.send("other", "a", "b")
    watched.send("centos", "c", at=2 * RELEASE_SECONDS)
    watched.pipeline.release_topics()
    assert watched.counts() == {"a": 1, "b": 1}


def test_a_watched_topic_keeps_its_series_and_a_clock_ahead_frees_none(ledger: Ledger) -> None:
    watched = Watched(ledger)
    watched.send("other", "a", "b")
    watched.send("other", "a", at=2 * RELEASE_SECONDS)
    watched.pipeline.release_topics({("other", "b")})
    ledger.set_floor(RELEASE_SECONDS)
    watched.pipeline.release_topics()
    assert watched.counts() == {"a": 2, "b": 1}


def test_a_message_is_never_received_later_than_now(ledger: Ledger) -> None:
    """If the clock is set back between its receipt and its record."""
    watched = Watched(ledger)
    started = time.time()
    watched.send("other", "a", at=started + 9 * RELEASE_SECONDS)
    received = ledger.counts()[Series("other", "a", "handled", "")].last_received
    assert received is not None
    assert started - 1 <= received <= time.time()


def test_topics_keep_their_series_if_the_ledger_fails(ledger: Ledger) -> None:
    watched = Watched(ledger)
    watched.send("other", "a", "b")
    watched.send("other", "a", at=2 * RELEASE_SECONDS)
    before = watched.counts()
    ledger.close()
    with pytest.raises(LedgerWriteError):
        watched.pipeline.release_topics()
    assert watched.counts() == before


def test_a_topic_that_is_named_like_the_other_ones_keeps_its_count(ledger: Ledger) -> None:
    watched = Watched(ledger)
    watched.send("fedora", "__other__", "a", "b", "c")
    assert watched.counts("fedora") == {"a": 1, "b": 1, "__other__": 2}  # it takes no room
    watched.send("fedora", COPR, at=RELEASE_SECONDS + 2)
    watched.pipeline.release_topics()
    assert watched.counts("fedora") == {COPR: 1, "__other__": 4}


def test_the_audit_of_a_released_topic_goes_with_its_count(ledger: Ledger) -> None:
    watched = Watched(ledger)
    watched.send("other", "a", "b")
    watched.send("other", "a", at=2 * RELEASE_SECONDS)
    totals = {Place("other", topic, Stage.BUS): Totals(messages=n) for n, topic in enumerate("ab")}
    with ledger.write() as tables:
        tables.windows.add(WindowRow(0, 1, place, of) for place, of in totals.items())
        tables.open_messages.add(
            OpenMessage(0, 1, "other", Stage.BUS, State.MISSING, MessageTrace(of, of, True))
            for of in "ab"
        )
    watched.pipeline.release_topics()
    with ledger.read() as tables:
        assert tables.windows.totals() == {
            Place("other", "a", Stage.BUS): Totals(messages=0),
            Place("other", "__other__", Stage.BUS): Totals(messages=1),
        }
        assert {place.topic for place in tables.gaps.open()} == {"a", "__other__"}


def test_each_bus_has_its_own_room(ledger: Ledger) -> None:
    watched = Watched(ledger)
    watched.send("other", "a", "b")
    watched.send("centos", "c", "d")
    assert watched.counts("centos") == {"c": 1, "d": 1}


def test_a_folded_message_is_judged_by_its_own_topic(ledger: Ledger) -> None:
    """On CentOS's staging bus topics are unknown by name, and yet its filter is for them."""
    watched = Watched(ledger, unknown_topics=0)
    watched.send("centos", "git.stg.centos.org/git.receive", "git.stg.centos.org/tag")
    counted = {series: t.messages for series, t in ledger.counts().items() if t.messages}
    assert counted == {
        Series("centos", "__other__", "handled", ""): 1,
        Series("centos", "__other__", "ignored", "other-subtopic"): 1,
    }


@pytest.mark.parametrize(
    ("topic", "counted_as"),
    [
        ("", ""),
        ("x" * 255, "x" * 255),
        ("x" * 10_000, "x" * 255),
        ("a\0b\n", "a\\x00b\n"),  # PostgreSQL stores no NUL
        ("a\ud800", "a\\ud800"),
        ("\ud800" * 100, ("\\ud800" * 100)[:255]),
        ("žluťoučký kůň", "žluťoučký kůň"),
    ],
)
def test_an_odd_topic_takes_one_place_also_after_a_restart(
    ledger: Ledger, ledger_server: LedgerServer, topic: str, counted_as: str
) -> None:
    with closing(Ledger(database_at(ledger_server.url_of(ledger_server.cleared())))) as database:
        for each in (ledger, database):
            Watched(each).send("other", topic, topic)
            again = Watched(each)
            again.send("other", "another", "one too many")
            Watched(each).send("other", topic)
            assert again.counts() == {counted_as: 3, "another": 1, "__other__": 1}
