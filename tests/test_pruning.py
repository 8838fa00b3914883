"""The thread that prunes: what it does in each round, and that a failure does not end it."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from busmon.ledger.ledger import Ledger
from busmon.ledger.shares import ROWS_AT_ONCE
from busmon.message import Message
from busmon.pipeline import OTHER, RELEASE_SECONDS, Pipeline
from busmon.pruning import PRUNE_INTERVAL, prune_regularly
from busmon.rules import Rules, rule_set
from tests.support.ledgers import unwritable

RETENTION = 3600.0


class Rounds(threading.Event):
    """Is set after some rounds, which begin at once."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number

    def wait(self, timeout: float | None = None) -> bool:
        if timeout == PRUNE_INTERVAL:
            self._left -= 1
        return self._left < 0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(f"{tmp_path}/ledger")) as opened:
        yield opened


def filled(ledger: Ledger) -> Pipeline:
    """Return the pipeline of a ledger that has old messages, and a new one."""
    rules = {"other": rule_set("all", Rules())}
    pipeline = Pipeline(ledger, rules, {"other": []}, 9, lambda _recorded: None)
    now = time.time()
    old = [
        Message(bus="other", id=str(n), topic="old", received_at=now - RELEASE_SECONDS - 60)
        for n in range(2 * ROWS_AT_ONCE + 1)
    ]
    new = Message(bus="other", id="new", topic="new", received_at=now)
    pipeline.record([pipeline.judge(message) for message in [*old, new]])
    return pipeline


def test_a_round_prunes_all_that_is_old_and_releases_topics(ledger: Ledger) -> None:
    prune_regularly(ledger, filled(ledger), RETENTION, set, Rounds(1))
    assert ledger.size()[0] == 1
    assert {series.topic for series in ledger.counts()} == {"new", OTHER}


def test_a_round_empties_the_write_ahead_log(ledger: Ledger) -> None:
    pipeline = filled(ledger)
    assert ledger.log_bytes()
    prune_regularly(ledger, pipeline, RETENTION, set, Rounds(2))  # nothing is left for the second
    assert ledger.log_bytes() == 0


def test_rounds_that_fail_are_logged_once_and_the_next_one_comes(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = filled(ledger)
    with unwritable(ledger.name):
        prune_regularly(ledger, pipeline, RETENTION, set, Rounds(2))
    [message] = caplog.messages
    assert message.startswith("ledger: cannot be pruned: ")
    prune_regularly(ledger, pipeline, RETENTION, set, Rounds(1))
    assert ledger.size()[0] == 1


def test_no_topic_is_released_before_it_is_known_which_are_watched(ledger: Ledger) -> None:
    prune_regularly(ledger, filled(ledger), RETENTION, lambda: None, Rounds(1))
    assert {series.topic for series in ledger.counts()} == {"new", "old"}


def test_a_clock_that_was_ahead_when_busmon_stopped_makes_nothing_old(ledger: Ledger) -> None:
    pipeline = filled(ledger)
    ledger.set_floor(time.time() - RELEASE_SECONDS - 60 - RETENTION)
    prune_regularly(ledger, pipeline, RETENTION, set, Rounds(1))
    assert ledger.size()[0] == 2 * ROWS_AT_ONCE + 2


def test_a_clock_that_is_behind_the_ledger_is_logged(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = filled(ledger)
    ledger.set_floor(time.time() + 7200)
    prune_regularly(ledger, pipeline, RETENTION, set, Rounds(2))
    [message] = caplog.messages
    assert message.startswith("the clock of the host is wrong: by the ledger, it has already been ")
