"""How many messages a service level counts: each once, whatever happens to busmon."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from busmon.audit.scope import Observed
from busmon.ledger.errors import LedgerWriteError
from busmon.levels.service_levels import MAX_MESSAGES, ServiceLevelCounter
from busmon.levels.watcher import TICK_SECONDS, LevelsWatcher
from busmon.settings.service_level import ServiceLevel
from tests.ledger.sql import foreign_writer
from tests.support.levels import BUS, NOW, TOPIC, LevelsBench

DAY = 86400
GRACE = 20
DUE = 60 + GRACE + 30  # seconds after its receipt, in which a message is not judged


def level(topic: str = TOPIC, stage: str = "listener", within: int = 60) -> ServiceLevel:
    return ServiceLevel.model_validate(
        {"bus": BUS, "topics": [topic], "stage": stage, "within": within, "objective": 0.98}
    )


class Bench(LevelsBench):
    """Service levels over a ledger in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path=str(path / "ledger.sqlite"))
        with self.ledger.write() as tables:
            for kind in ("tap", "celery"):
                tables.coverage.add_span(f"{kind}:{BUS}", NOW - 1000, NOW + 500, 0)
        self.configure(copr=level())

    def configure(self, **levels: ServiceLevel) -> None:
        """Let busmon start with these service levels."""
        self.levels = ServiceLevelCounter(self.ledger, levels, self.scopes, GRACE, 2 * DAY)

    def run_listener(self, since: float, until: float) -> None:
        """Let a listener with a tap run from `since` to `until`."""
        with self.ledger.write() as tables:
            for kind in ("tap", "listener"):
                tables.coverage.add_span(f"{kind}:{BUS}", NOW + since, NOW + until, 0)

    def judge(self, at: float) -> dict[str, list[int]]:
        """Judge what is due; return the numbers of true, false and unknown so far."""
        self.levels.count(NOW + at, lambda: False)
        return self.counted()

    def counted(self) -> dict[str, list[int]]:
        counters, _ = self.levels.collect()
        counted: dict[str, list[int]] = {}
        for sample in counters.samples:
            assert sample.labels["bus"] == BUS
            counted.setdefault(sample.labels["slo"], []).append(int(sample.value))
        return counted


@pytest.fixture
def slo(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.ledger.close()


def test_each_handled_message_of_the_topics_is_counted_once(slo: Bench) -> None:
    slo.receive("in time", "never", at=0)
    slo.receive("late", at=1)
    slo.receive("other", at=1, topic="other")
    slo.receive("ignored", at=1, outcome="ignored")
    slo.receive("nobody looked", at=450)
    slo.report("in time", "other", "ignored", at=60)
    slo.report("late", at=61.1)
    assert slo.judge(at=DUE) == {"copr": [0, 0, 0]}
    assert slo.judge(at=DUE + 0.5) == {"copr": [1, 1, 0]}
    for at in (DUE + 2, 400, 450 + DUE, 500, 10_000):
        found = slo.judge(at=at)
        assert found == {"copr": [1, 2, int(at == 10_000)]}
    slo.configure(copr=level())  # a restart
    assert slo.judge(at=20_000) == {"copr": [1, 2, 1]}


def test_what_could_not_be_written_is_counted_later_and_once(slo: Bench) -> None:
    slo.receive(*map(str, range(MAX_MESSAGES + 1)))
    with foreign_writer(Path(slo.ledger.name)), pytest.raises(LedgerWriteError):
        slo.judge(at=200)
    assert slo.counted() == {"copr": [0, 0, 0]}
    slo.levels.count(NOW + 200, lambda: True)  # busmon ends after the first step
    assert slo.counted() == {"copr": [0, MAX_MESSAGES, 0]}
    slo.configure(copr=level())
    assert slo.judge(at=200) == {"copr": [0, MAX_MESSAGES + 1, 0]}


def test_a_new_service_level_begins_now_and_one_removed_is_forgotten(slo: Bench) -> None:
    slo.receive("1")
    slo.judge(at=200)
    slo.receive("2", at=100)
    slo.configure(copr=level(), worker=level(stage="worker"), any=level(topic="*"))
    slo.receive("3", at=101)
    assert slo.judge(at=300) == {"copr": [0, 3, 0], "worker": [0, 1, 0], "any": [0, 1, 0]}
    slo.configure(worker=level(stage="worker", within=30))
    assert slo.judge(at=400) == {"worker": [0, 1, 0]}
    slo.configure(copr=level())
    slo.receive("4", at=200)
    assert slo.judge(at=400) == {"copr": [0, 1, 0]}


def test_no_message_is_left_out_after_all_were_deleted(slo: Bench) -> None:
    slo.receive("1", "2", "3")
    assert slo.judge(at=200) == {"copr": [0, 3, 0]}
    while slo.ledger.prune(NOW + 86400, retention=3600):
        pass
    slo.receive("4", at=300)  # it has the number of the first one
    slo.report("4", at=301)
    assert slo.judge(at=450) == {"copr": [1, 3, 0]}


def test_a_clock_that_was_wrong_holds_nothing_up(slo: Bench) -> None:
    slo.receive("years ahead", at=1e8)
    slo.receive("then", at=1)
    slo.receive("behind", at=-500)
    slo.report("then", at=2)
    assert slo.judge(at=200) == {"copr": [1, 1, 1]}
    assert slo.judge(at=1e8) == {"copr": [1, 1, 1]}


def test_what_came_while_the_listener_was_gone_is_judged_when_it_is_back(slo: Bench) -> None:
    slo.scopes = {BUS: Observed(tap=BUS, temporary=frozenset({BUS})).scope(BUS)}
    slo.configure(copr=level())
    slo.run_listener(-900, 500)
    slo.receive("passed", at=490)
    slo.report("passed", at=491)
    slo.receive("as it died", at=501)  # the listener may have passed it on, unreported
    slo.receive("lost", at=520)
    for at in (500 + DUE, 5000):
        assert slo.judge(at=at) == {"copr": [1, 0, 0]}
    slo.run_listener(5000, 5300)
    slo.receive("passed again", at=5100)
    slo.report("passed again", at=5101)
    assert slo.judge(at=5300) == {"copr": [2, 1, 1]}
    slo.receive("lost for ever", at=5310)
    assert slo.judge(at=5310 + DAY) == {"copr": [2, 1, 1]}
    assert slo.judge(at=5310 + DAY + DUE + 1) == {"copr": [2, 1, 2]}


def test_what_a_listener_had_not_passed_on_when_it_ended_was_not_in_time(slo: Bench) -> None:
    slo.scopes = {BUS: Observed(tap=BUS, temporary=frozenset({BUS})).scope(BUS)}
    slo.configure(copr=level())
    slo.run_listener(-900, 500)
    with slo.ledger.write() as tables:
        tables.coverage.start(f"ended:{BUS}", NOW + 500)
    slo.receive("prefetched", at=499)
    slo.run_listener(900, 1200)
    assert slo.judge(at=1200) == {"copr": [0, 1, 0]}


def test_handlers_are_awaited_until_the_last_has_ended(slo: Bench) -> None:
    slo.configure(copr=level(stage="handlers"))
    slo.receive("quick", "none", "slow", "failed")
    slo.report("quick", "none", "slow", "failed", at=1)
    for one in ("quick", "none", "slow", "failed"):
        slo.work(one, 2, started=3, succeeded=5)
    slo.handle("quick", at=4, succeeded=60)
    slo.handle("slow", at=4, succeeded=61)
    slo.handle("failed", at=4, failed=10)
    assert slo.judge(at=200) == {"copr": [2, 2, 0]}


class Rounds(threading.Event):
    """Lets a thread work so many times without a wait, then end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number

    def wait(self, timeout: float | None = None) -> bool:
        if timeout == TICK_SECONDS:
            self._left -= 1
        return self._left < 0


def test_the_thread_goes_on_when_the_ledger_can_be_written_again(
    slo: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    slo.receive("1")
    watcher = LevelsWatcher(slo.ledger, slo.counter, slo.levels)
    with foreign_writer(Path(slo.ledger.name)):
        watcher.run(Rounds(1))
    assert slo.counted() == {"copr": [0, 0, 0]}
    watcher.run(Rounds(1))
    assert slo.counted() == {"copr": [0, 1, 0]}
    failed, again = caplog.messages
    assert failed.startswith("levels: nothing can be counted: ")
    assert again == "levels: delays and service levels are counted again"
