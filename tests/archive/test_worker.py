"""The thread that asks the archive, with jobs that do anything."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from busmon.archive import worker
from busmon.archive.client import Datagrepper, Unanswered
from busmon.archive.worker import FAILURE_PAUSES, MIN_PAUSE, Worker
from busmon.ledger.errors import LedgerWriteError
from busmon.ledger.ledger import Ledger
from tests.support.datagrepper import settings

NOW = 1_789_000_000.0


@dataclass
class Scripted:
    """Does what its script says, step by step, and then nothing."""

    script: list[bool | Exception]
    steps: list[float] = field(default_factory=list)  # when

    def step(self, now: float) -> bool:
        if not self.script:
            return False
        self.steps.append(now - NOW)
        done = self.script.pop(0)
        if isinstance(done, Exception):
            raise done
        return done


def test_a_job_that_fails_waits_while_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: 0.0))  # no step is slow
    refused = Unanswered("status 502")
    first = Scripted([refused, refused, True, refused])
    second = Scripted([True] * 3)
    third = Scripted([LedgerWriteError("disk full"), True, ValueError("a bug"), True])
    ledger = Ledger(":memory:")
    jobs = [first, second, third]
    of_all = Worker(Datagrepper(settings("http://127.0.0.1:1")), ledger, jobs)
    at, problems = 0.0, [of_all.problem()]
    while at < 1200:
        at += of_all.step(NOW + at, at)
        problems.append(of_all.problem())
    assert first.steps == [0, MIN_PAUSE, MIN_PAUSE + FAILURE_PAUSES[1], MIN_PAUSE * 2 + 60]
    assert second.steps == [2, 3, 4]
    assert third.steps == [5, 65, 66, 66 + FAILURE_PAUSES[-1]]
    assert problems[:4] == ["no answer yet", "status 502", "status 502", None]
    ledger.close()
