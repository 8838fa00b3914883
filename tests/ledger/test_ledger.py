"""The ledger: each message is counted once, and for good."""

import math
import re
import shutil
import tempfile
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from busmon.ledger.batch import Count, Observation, Series
from busmon.ledger.engines import LedgerPlace
from busmon.ledger.errors import TooSlow
from busmon.ledger.ledger import Ledger
from busmon.ledger.values import shown_id, stored_id
from busmon.message import Outcome
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import HANDLED, NOW, counted, database_at, judged
from tests.support.open_gaps import Place, leave_open

DAY = 86400.0
GIB = 2**30


# --- counting ---------------------------------------------------------------------------


def test_an_id_is_counted_once_across_batches_and_restarts(place: LedgerPlace) -> None:
    with closing(Ledger(place)) as ledger:
        first = ledger.record(judged(1, 2, 1))
        assert ([m.id for m in first.new], first.duplicates) == (["1", "2"], 1)
        assert ledger.record(judged(2, 3)).duplicates == 1
    with closing(Ledger(place)) as ledger:
        assert ledger.record(judged(3, 4)).duplicates == 1
        assert ledger.counts()[HANDLED].messages == 4
        assert ledger.duplicates() == {"fedora": 3}


def test_the_same_id_on_another_bus_is_another_message(ledger: Ledger) -> None:
    ledger.record(judged(1))
    assert ledger.record(judged(1, bus="centos")).duplicates == 0
    assert ledger.duplicates() == Counter()


def test_an_id_with_another_judgement_is_still_a_duplicate(place: LedgerPlace) -> None:
    first, = judged(1)  # fmt: skip
    again = first._replace(series=HANDLED._replace(outcome="ignored", reason="releng"))
    with closing(Ledger(place)) as ledger:
        ledger.record([first, again])
        assert ledger.counts() == {HANDLED: Count(1, NOW)}
    with closing(Ledger(place)) as ledger:
        assert ledger.counts() == {HANDLED: Count(1, NOW)}


def test_a_digest_that_comes_again_is_new_unless_redelivered(ledger: Ledger) -> None:
    again = judged("digest", digest_id=True)
    assert len(ledger.record(again * 3).new) == 3
    assert len(ledger.record(again).new) == 1
    assert ledger.record(judged("digest", digest_id=True, redelivered=True)).duplicates == 1
    assert len(ledger.record(judged("unseen", digest_id=True, redelivered=True)).new) == 1


def test_redelivered_alone_makes_no_duplicate(ledger: Ledger) -> None:
    assert len(ledger.record(judged(1, redelivered=True)).new) == 1


UUID_TEXT = "0123abcd-0123-abcd-ef01-0123456789ab"
ODD_IDS = [
    "", " ", "\n", "a\0b", "a\0c",
    "é", "é\ud800", "é\\ud800", "\ud800", "\\ud800", "\ud801", "\ud800" * 36, "x" * 36,
    UUID_TEXT, UUID_TEXT.upper(), UUID_TEXT.replace("-", ""), f"{{{UUID_TEXT}}}",
    f"urn:uuid:{UUID_TEXT}", UUID_TEXT.replace("0", "\u0660"), UUID_TEXT.replace("0", "_", 1),
    UUID(UUID_TEXT).bytes.decode("latin-1"), "y" * 255, "y" * 256, "y" * 10_000, "y" * 9_999 + "z",
]  # fmt: skip


def test_odd_ids_are_all_distinguished_and_all_recognised(place: LedgerPlace) -> None:
    with closing(Ledger(place)) as ledger:
        assert [m.id for m in ledger.record(judged(*ODD_IDS)).new] == ODD_IDS
    with closing(Ledger(place)) as ledger:
        assert ledger.record(judged(*ODD_IDS)).duplicates == len(ODD_IDS)


@pytest.mark.parametrize(
    ("identity", "size"),
    [
        (UUID_TEXT, 16),
        (UUID_TEXT.replace("-", ""), 17),
        (UUID_TEXT.upper(), 36),
        ("ID:broker-45678-1790000000000-3:1:1:1:1", 39),
    ],
)
def test_an_id_takes_little_room_and_is_shown_as_it_was(identity: str, size: int) -> None:
    stored = stored_id(identity)
    assert len(stored) == size
    assert shown_id(stored) == identity


@pytest.mark.parametrize("identity", ["y" * 256, "odd é", "\ud800"])
def test_a_long_or_odd_id_is_shown_as_its_digest_and_found_by_it(identity: str) -> None:
    shown = shown_id(stored_id(identity))
    assert re.fullmatch("digest:[0-9a-f]{64}", shown)
    assert stored_id(shown) == stored_id(identity)


@pytest.mark.parametrize(
    ("sent_at", "kept"),
    [
        (None, None),
        (math.inf, None),
        (-math.inf, None),
        (math.nan, None),
        (1e300, None),
        (0.0, 0.0),
        (1.001, 1.001),
        (NOW + 0.001, NOW + 0.001),
        (253402300799.0, 253402300799.0),  # the end of the year 9999
        (-62135596800.0, -62135596800.0),  # the start of the year 1
    ],
)
def test_a_sent_time_is_kept_if_a_clock_can_show_it(
    place: LedgerPlace, sent_at: float, kept: float
) -> None:
    with closing(Ledger(place)) as ledger:
        ledger.record(judged(1, sent_at=sent_at))
        assert ledger.counts() == {HANDLED: Count(1, NOW, kept)}
    with closing(Ledger(place)) as ledger:
        assert ledger.counts() == {HANDLED: Count(1, NOW, kept)}


def test_the_last_times_are_those_of_the_newest_message_that_has_them(place: LedgerPlace) -> None:
    with closing(Ledger(place)) as ledger:
        ledger.record(judged(1, sent_at=NOW - 5))
        ledger.record(judged(2, at=NOW + 0.0014))
        assert ledger.counts() == {HANDLED: Count(2, NOW + 0.001, NOW - 5)}
    with closing(Ledger(place)) as ledger:
        assert ledger.counts() == {HANDLED: Count(2, NOW + 0.001, NOW - 5)}


def test_known_series_exist_at_zero_and_take_nothing_from_those_counted(ledger: Ledger) -> None:
    ledger.record(judged(1))
    other = HANDLED._replace(topic="another.topic")
    ledger.declare_series([HANDLED, other])
    assert ledger.counts() == {HANDLED: Count(1, NOW), other: Count()}


def test_an_empty_batch_is_recorded(ledger: Ledger) -> None:
    assert ledger.record([]).new == []


def test_threads_that_record_the_same_messages_count_each_once(ledger: Ledger) -> None:
    def work() -> None:
        for start in range(0, 500, 25):
            ledger.record(judged(*range(start, start + 25)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.counts()[HANDLED].messages == 500
    assert ledger.duplicates() == {"fedora": 1500}


def test_the_queue_of_a_bus_is_a_uuid_made_once(place: LedgerPlace) -> None:
    with closing(Ledger(place)) as ledger:
        ledger.record(judged(1))
        queues = [ledger.own_queue(bus) for bus in ("fedora", "new", "fedora")]
        ledger.record(judged(1, bus="new"))
    assert queues[0] == queues[2] != queues[1]
    assert [str(UUID(queue)) for queue in queues] == queues
    with closing(Ledger(place)) as ledger:
        assert [ledger.own_queue(bus) for bus in ("fedora", "new", "fedora")] == queues
        assert counted(ledger) == 2


def test_what_is_read_at_once_is_of_one_moment(place: LedgerPlace) -> None:
    with closing(Ledger(place)) as ledger:
        ledger.record(judged("1"))
        with ledger.read() as tables:
            assert tables.messages.count() == 1
            ledger.record(judged("2"))
            assert tables.messages.count() == 1
        with ledger.read() as tables:
            assert tables.messages.count() == 2


def test_two_ledgers_in_memory_know_nothing_of_each_other() -> None:
    with closing(Ledger(":memory:")) as one, closing(Ledger(":memory:")) as other:
        one.record(judged(1, 2))
        assert (counted(one), counted(other)) == (2, 0)
        assert one.prune(NOW + 2 * DAY, DAY) is False
        assert one.size()[0] == 0


# --- against a model --------------------------------------------------------------------

MESSAGES = st.builds(
    Observation,
    series=st.builds(
        Series,
        bus=st.sampled_from(["fedora", "centos"]),
        topic=st.sampled_from(["a.topic", "another.topic"]),
        outcome=st.sampled_from(Outcome),
        reason=st.just(""),
    ),
    id=st.sampled_from(["", "a", "b", UUID_TEXT, "\ud800", "y" * 300]),
    received_at=st.just(NOW),
    digest_id=st.booleans(),
    redelivered=st.booleans(),
)
BATCHES = st.lists(MESSAGES, max_size=6)


class Model:
    """The ledger as it would be without a disk."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()
        self.messages: Counter[Series] = Counter()
        self.duplicates: Counter[str] = Counter()

    def record(self, batch: list[Observation]) -> None:
        for message in batch:
            bus = message.series.bus
            known = (bus, message.id) in self.seen
            if known and (message.redelivered or not message.digest_id):
                self.duplicates[bus] += 1
            else:
                self.messages[message.series] += 1
            self.seen.add((bus, message.id))

    def check(self, ledger: Ledger) -> None:
        """Close a ledger that has counted the same."""
        with closing(ledger):
            messages = {series: count.messages for series, count in ledger.counts().items()}
            assert Counter(messages) == self.messages
            assert ledger.duplicates() == self.duplicates
            assert ledger.size()[0] == self.messages.total()


STEPS = st.lists(BATCHES | st.sampled_from(["restart", "crash"]), max_size=12)


@given(STEPS)
@settings(max_examples=60)
def test_batches_restarts_and_crashes_agree_with_a_plain_model(steps: list[Any]) -> None:
    """A crash leaves the files as they are at that moment, the write-ahead log among them."""
    model = Model()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory, "0")
        home.mkdir()
        ledger = Ledger(f"{home}/ledger")
        for number, step in enumerate(steps, start=1):
            if isinstance(step, list):
                ledger.record(step)
                model.record(step)
                continue
            if step == "crash":
                home = shutil.copytree(home, Path(directory, str(number)))
            ledger.close()
            ledger = Ledger(f"{home}/ledger")
        model.check(ledger)


@given(steps=STEPS)
@settings(max_examples=10)
def test_with_a_database_they_agree_with_it_too(
    steps: list[Any], ledger_server: LedgerServer
) -> None:
    """A crash ends all connections to it."""
    model, place = Model(), database_at(ledger_server.url_of(ledger_server.cleared()))
    ledger = Ledger(place)
    for step in steps:
        if isinstance(step, list):
            ledger.record(step)
            model.record(step)
        elif step == "crash":
            ledger_server.disconnect()
        else:
            ledger.close()
            ledger = Ledger(place)
    model.check(ledger)


def test_a_reader_with_a_limit_ends_a_query_that_takes_longer(place: LedgerPlace) -> None:
    with closing(Ledger(place)) as ledger:
        leave_open(ledger, Place(), 3000)
        with ledger.read(60) as tables:
            assert len(list(tables.gaps.listed())) == 3000
        with pytest.raises(TooSlow), ledger.read(0) as tables:
            list(tables.gaps.listed())
