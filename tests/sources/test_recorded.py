"""Recorded messages: read, and replayed as a source."""

import gzip
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from busmon.commands.explain import explain, rule_sets
from busmon.ledger.batch import Series
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.message import Message
from busmon.pipeline import Pipeline
from busmon.rules import Rules, rule_set
from busmon.sources.recorded.reader import open_file, read
from busmon.sources.recorded.settings import ReplayBus
from busmon.sources.recorded.source import ReplaySource
from busmon.tap.busmon_tap import message_id
from tests.samples import CENTOS, CENTOS_FILE, FEDORA, FEDORA_FILE
from tests.support.brokers import wait_until
from tests.support.recorded import COPR, PUSH, Taken, lines
from tests.support.sources import AsTheyAre


def ids(*records: Any) -> list[str]:
    return [line.message.id for line in read(lines(*records), "a-file", "a-bus")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\xff", "not-utf8"),
        (b'{"topic": "a", "body": {}', "not-json"),
        (b"[" * 100_000, "not-json"),
        (b"null", "not-object"),
        (b"[]", "not-object"),
        (b"{}", "not-record"),
        (b'{"topic": "a"}', "not-record"),
        (b'{"topic": "", "body": {}}', "not-record"),
        (b'{"topic": 1, "body": {}}', "not-record"),
        (b'{"body": {}}', "not-record"),
        (b'{"topic": "a", "body": {}, "headers": []}', "not-record"),
    ],
)
def test_a_bad_line_is_invalid_and_the_rest_is_read(line: bytes, reason: str) -> None:
    bad, good = explain(read([line, *lines(COPR)], "a-file", "a-bus"), rule_sets(None, Rules()))
    assert (bad.id, bad.outcome, bad.reason) == ("a-file:1", "invalid", reason)
    assert (good.id, good.outcome) == ("one", "handled")


@given(st.lists(st.binary() | st.sampled_from(lines(COPR, PUSH))))
def test_no_file_makes_reading_raise(text: list[bytes]) -> None:
    for line in read(text, "a-file", "a-bus"):
        message = line.message
        assert message.rejected or message.unreadable or message.body is not None


@pytest.mark.parametrize("depth", range(100, 1100, 50))
def test_no_nesting_makes_reading_raise(depth: int) -> None:
    nested = b'{"topic": "a", "body": {"a": %s}}' % (b"[" * depth + b"]" * depth)
    assert len(list(read([nested], "a-file", "a-bus"))) == 1


def test_blank_lines_are_skipped_but_numbered() -> None:
    text = [b"\n", *lines(COPR), b"  \r\n", *lines(PUSH)]
    assert [line.number for line in read(text, "a-file", "a-bus")] == [2, 4]


def test_a_record_says_what_came_over_the_wire() -> None:
    record = COPR | {"headers": {"sent-at": "2026-03-02T09:00:00+01:00"}}
    started = time.time()
    (line,) = read(lines(record), "a-file", "a-bus")
    message = line.message
    assert (message.bus, message.topic, message.body) == ("a-bus", COPR["topic"], COPR["body"])
    assert message.sent_at == 1772438400
    assert message.size == len('{"user": "packit"}')
    assert started <= message.received_at <= time.time()


def test_equal_lines_without_an_id_are_two_messages() -> None:
    first = ids(PUSH, PUSH, COPR)
    assert len(set(first)) == 3
    assert first == ids(PUSH, PUSH, COPR)
    assert ids(COPR, PUSH) == ["one", first[0]]


def test_a_long_id_is_kept_as_its_digest() -> None:
    """As on its bus, so that a batch of them takes little memory."""
    assert ids(COPR | {"id": "x" * 255}) == ["x" * 255]
    assert ids(COPR | {"id": "x" * 256}) == [message_id("x" * 256)]
    assert len(message_id("x" * 256)) < 100
    assert "" not in ids(COPR | {"id": None}, COPR | {"id": 0}, COPR | {"id": ""})


def test_a_file_named_gz_is_unpacked(tmp_path: Path) -> None:
    packed = tmp_path / "recorded.jsonl.gz"
    packed.write_bytes(gzip.compress(FEDORA_FILE.read_bytes()))
    with open_file(packed) as file, open_file(FEDORA_FILE) as plain:
        assert file.read() == plain.read()


def test_fedora_messaging_is_loaded_only_for_its_own_format() -> None:
    program = (
        "import sys; from busmon.sources.recorded.reader import read\n"
        "print(len(list(read(sys.stdin.buffer, '-', '-'))), 'fedora_messaging' in sys.modules)"
    )
    with CENTOS_FILE.open("rb") as file:
        ran = subprocess.run(
            [sys.executable, "-c", program], stdin=file, capture_output=True, check=True
        )
    assert ran.stdout.split() == [b"%d" % len(CENTOS), b"False"]


def replay(*files: Path, rate: float | None = None) -> ReplaySource:
    settings = ReplayBus(type="replay", rules="packit", files=files, rate=rate)
    return ReplaySource("recorded", settings)


def written(path: Path, *text: bytes) -> Path:
    path.write_bytes(b"".join(text))
    return path


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(str(tmp_path / "ledger.sqlite"))
    yield opened
    opened.close()


def test_a_file_that_is_replayed_twice_is_counted_once(ledger: Ledger) -> None:
    rejections = {"recorded": ReplaySource.rejections}
    rules = {"recorded": rule_set("packit", Rules())}
    pipeline = Pipeline(ledger, rules, rejections, 200, lambda _recorded: None)
    expected = {Series("recorded", *key): count for key, count in Counter(FEDORA).items()}
    for again in range(2):
        source = replay(FEDORA_FILE)
        source.run(pipeline)
        assert source.connection.problem() is None
        counted = {series: t.messages for series, t in ledger.counts().items() if t.messages}
        assert counted == expected
        assert ledger.duplicates()["recorded"] == again * len(FEDORA)


def test_a_bad_line_is_reported_by_file_and_line_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = written(tmp_path / "a.jsonl", *lines(COPR), b"{secret\n", *lines(PUSH))
    taken = Taken()
    with caplog.at_level(logging.WARNING):
        replay(file).run(AsTheyAre(taken))
    assert [message.rejected is None for message in taken] == [True, False, True]
    assert caplog.messages == [f"recorded: {file}:2: not-json"]


def test_an_unreadable_file_is_reported_and_the_others_are_replayed(tmp_path: Path) -> None:
    good = written(tmp_path / "good.jsonl", *lines(COPR))
    cut = written(tmp_path / "cut.jsonl.gz", gzip.compress(lines(PUSH)[0] * 9)[:-9])
    missing = written(tmp_path / "missing.jsonl")
    source, taken = replay(missing, cut, good), Taken()
    missing.unlink()
    source.run(AsTheyAre(taken))
    assert taken[-1].id == "one"
    assert source.connection.problem() == (
        f"error: cannot read {missing}: No such file or directory; cannot read {cut}: "
        "Compressed file ended before the end-of-stream marker was reached"
    )


def test_without_a_rate_batches_are_large(tmp_path: Path) -> None:
    taken = Taken()
    replay(written(tmp_path / "a.jsonl", *lines(PUSH) * 1200)).run(AsTheyAre(taken))
    assert taken.batches == [500, 500, 200]


def test_a_rate_is_kept_in_small_batches(tmp_path: Path) -> None:
    taken = Taken()
    started = time.monotonic()
    replay(written(tmp_path / "a.jsonl", *lines(PUSH) * 6), rate=20).run(AsTheyAre(taken))
    assert taken.batches == [2, 2, 2]
    assert time.monotonic() - started >= 6 / 20


def test_a_slow_replay_stops_at_once(tmp_path: Path) -> None:
    source, taken = replay(written(tmp_path / "a.jsonl", *lines(PUSH) * 9), rate=0.001), Taken()
    running = threading.Thread(target=source.run, args=(AsTheyAre(taken),))
    running.start()
    wait_until(lambda: taken)
    source.stop()
    running.join(timeout=10)
    assert not running.is_alive()
    assert len(taken) == 1
    assert source.connection.problem() == "stopped"


def test_a_batch_that_is_not_recorded_comes_again(tmp_path: Path) -> None:
    source, taken = replay(written(tmp_path / "a.jsonl", *lines(COPR, PUSH))), Taken()
    problems: list[str | None] = []

    def full_at_first(messages: Sequence[Message]) -> None:
        problems.append(source.connection.problem())
        if len(problems) == 1:
            raise LedgerWriteError("disk is full")
        taken(messages)

    source.run(AsTheyAre(full_at_first))
    assert problems == [None, "ledger: disk is full"]
    assert taken.batches == [2]
    assert source.connection.problem() is None
