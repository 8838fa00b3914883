"""Whether a message was in time, by what is on record of it."""

from typing import Any, NamedTuple

import pytest

from busmon.ledger.service_levels import HandledMessage
from busmon.levels.judgement import judge
from busmon.settings.service_level import ServiceLevel

WEEK = 7 * 86400.0


class Watched(NamedTuple):
    """The observers watch except in a gap; busmon was blind or not."""

    gap: tuple[float, float] = (-1e9, -1e9)  # of the tap
    workers_gap: tuple[float, float] = (-1e9, -1e9)
    blind: bool = False
    absent: tuple[float, float] = (-1e9, -1e9)  # the listener, and its queue

    def listener(self, since: float, until: float) -> bool:
        assert since <= until
        return until < self.gap[0] or since > self.gap[1]

    def workers(self, since: float, until: float) -> bool:
        assert since <= until
        return until < self.workers_gap[0] or since > self.workers_gap[1]

    def lost(self, at: float) -> bool:
        return self.absent[0] <= at < self.absent[1]

    def blind_before(self, at: float) -> bool:
        return self.blind and at > 0


ALWAYS = Watched()
NO_TAP = Watched(gap=(30, 40))
NO_CELERY = Watched(workers_gap=(30, 40))

Facts = dict[str, Any]
RECEIVED: Facts = {"received_at": 10.0}
PASSED = RECEIVED | {"report": "passed", "task": "t", "passed_at": 20.0}
DONE = PASSED | {"state": "succeeded", "finished_at": 50.0}
TREE = DONE | {"tree": 0, "tree_ended_at": 100.0}

CASES: dict[str, tuple[str, Facts, Watched, str]] = {
    "passed": ("listener", PASSED, ALWAYS, "true"),
    "passed at the last moment": ("listener", PASSED | {"passed_at": 110.0}, ALWAYS, "true"),
    "passed late": ("listener", PASSED | {"passed_at": 110.1}, ALWAYS, "false"),
    "passed before busmon received it": ("listener", PASSED | {"passed_at": 5.0}, NO_TAP, "true"),
    "late since it was sent": ("listener", PASSED | {"sent_at": -80.1}, ALWAYS, "false"),
    "in time since it was sent": ("listener", PASSED | {"sent_at": -80.0}, ALWAYS, "true"),
    "sent in the future": ("listener", PASSED | {"sent_at": 11.0}, ALWAYS, "true"),
    "sent long ago": ("listener", PASSED | {"sent_at": -13 * WEEK + 10}, ALWAYS, "false"),
    "sent too long ago": ("listener", PASSED | {"sent_at": -13 * WEEK + 9}, ALWAYS, "true"),
    "never passed": ("listener", RECEIVED, ALWAYS, "false"),
    "nobody looked": ("listener", RECEIVED, NO_TAP, "unknown"),
    "nobody looked, but only later": ("listener", RECEIVED, Watched(gap=(111, 200)), "false"),
    "nobody looked, but only before": ("listener", RECEIVED, Watched(gap=(0, 9)), "false"),
    "nobody looked when it was sent": (
        "listener",
        RECEIVED | {"sent_at": 5.0},
        Watched(gap=(0, 9)),
        "unknown",
    ),
    "received long after it was due": (
        "listener",
        RECEIVED | {"sent_at": -500.0},
        Watched(gap=(0, 9)),
        "unknown",
    ),
    "kept by the broker while busmon was away": (
        "listener",
        RECEIVED,
        Watched(blind=True),
        "unknown",
    ),
    "the same, but it says when it was sent": (
        "listener",
        RECEIVED | {"sent_at": 0.0},
        Watched(blind=True),
        "false",
    ),
    "lost with the queue": ("listener", RECEIVED, Watched(gap=(0, 90), absent=(5, 80)), "false"),
    "not lost yet": ("listener", RECEIVED, Watched(gap=(0, 90), absent=(11, 80)), "unknown"),
    "dropped": ("listener", RECEIVED | {"report": "dropped"}, NO_TAP, "false"),
    "raised": ("worker", RECEIVED | {"report": "raised"}, NO_TAP, "false"),
    "finished": ("worker", DONE, ALWAYS, "true"),
    "failed": ("worker", DONE | {"state": "failed"}, NO_CELERY, "true"),
    "revoked": ("worker", DONE | {"state": "revoked"}, ALWAYS, "false"),
    "finished late": ("worker", DONE | {"finished_at": 111.0}, NO_CELERY, "false"),
    "passed, but no worker took it": ("worker", PASSED, ALWAYS, "false"),
    "passed, but nobody looked then": ("worker", PASSED, NO_CELERY, "unknown"),
    "passed too late for any worker": ("worker", PASSED | {"passed_at": 111.0}, NO_CELERY, "false"),
    "passed as an unknown task": ("worker", PASSED | {"task": None}, ALWAYS, "unknown"),
    "not passed, so not finished": ("worker", RECEIVED, ALWAYS, "false"),
    "with all handlers": ("handlers", TREE, ALWAYS, "true"),
    "without any handler": ("handlers", TREE | {"tree_ended_at": 50.0}, ALWAYS, "true"),
    "with handlers, late": ("handlers", TREE | {"tree_ended_at": 111.0}, NO_CELERY, "false"),
    "some handlers may be unknown": ("handlers", TREE | {"tree": 3}, ALWAYS, "unknown"),
    "with a handler that still runs": ("handlers", TREE | {"tree": 1}, ALWAYS, "false"),
    "with one of which events are lost": ("handlers", TREE | {"tree": 1}, NO_CELERY, "unknown"),
    "with a handler that failed": ("handlers", TREE | {"tree": 2}, NO_CELERY, "false"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_message_is_judged_by_what_is_known_of_it(case: str) -> None:
    stage, facts, watched, expected = CASES[case]
    unknown: Facts = dict.fromkeys(HandledMessage._fields)
    level = ServiceLevel.model_validate(
        {"bus": "fedora", "topics": ["a"], "stage": stage, "within": 100, "objective": 0.98}
    )
    assert judge(HandledMessage(**unknown | facts), level, watched) == expected
