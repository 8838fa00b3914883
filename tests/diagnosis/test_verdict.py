"""Whose fault it is: the verdict by what is known, from one layer to the next."""

from dataclasses import fields, replace
from typing import Any

import pytest

from busmon.archive.opinion import Comparison, Opinion
from busmon.diagnosis.facts import (
    BusFacts,
    Facts,
    FailingTask,
    Health,
    ListenerFacts,
    LostMessages,
    LowTopic,
    Queue,
    SilentTopic,
    StageCounts,
    TopicFacts,
    WorkerFacts,
)
from busmon.diagnosis.verdict import FaultKind, Verdict, diagnose, worst
from busmon.ledger.differences import Difference
from busmon.message import Stage
from busmon.sources.listener_queue import ListenerQueue
from busmon.text import format_age, format_duration
from tests.support.diagnosis import verdict_on

HOUR, DAY = 3600.0, 86400.0
UP, DOWN, UNKNOWN = Health(True), Health(False, "no answer"), Health(None)
COPR = SilentTopic("copr.build.end", 2 * HOUR, 40.0, 8.0)
HOTNESS = SilentTopic("hotness.update.bug.file", 5 * DAY, 60.3, 9.5)
NEVER = SilentTopic("new.requests", 26 * HOUR, came=False, within=DAY)
LOST, NOTHING = Opinion(DAY, 100, more=True), Opinion(DAY)
ONE, BLIND = Opinion(DAY, 1), Opinion(unknown="it does not answer")
NO_FACTS = BusFacts(name="fedora")
WELL = BusFacts(
    name="fedora",
    topics=TopicFacts(last=2.0, flowing=15, overdue=0.5),
    listener=ListenerFacts(monitor=UP, tap=UP, passed=StageCounts(100, 0)),
    workers=WorkerFacts(
        celery=UP, finished=StageCounts(100, 0), queues=(Queue("short-running", 3, 0),)
    ),
)


def bus(facts: BusFacts, **changes: Any) -> BusFacts:
    """Return the facts with some fields changed, wherever they are; no name is there twice."""
    for part in ("topics", "listener", "workers"):
        group = getattr(facts, part)
        own = {field.name for field in fields(group)} & changes.keys()
        group = replace(group, **{name: changes.pop(name) for name in own})
        facts = replace(facts, **{part: group})
    return replace(facts, **changes)


def fedora(**changes: Any) -> BusFacts:
    return bus(WELL, **changes)


# What is known, the verdict, and what of the evidence matters to whoever is called for it.
SCENARIOS = {
    "all is well": (WELL, FaultKind.NONE, ["connected; the newest message came 2 s ago"]),
    "nothing was ever received": (
        NO_FACTS,
        FaultKind.NONE,
        ["connected; its listener is not watched"],
    ),
    "no baseline yet": (
        bus(NO_FACTS, last=1.0, unlearned=15),
        FaultKind.NONE,
        ["15 topics without a baseline yet"],
    ),
    # packit-service #2434: one publisher stopped, and nobody noticed for days.
    "the-new-hotness stopped publishing": (
        fedora(silent=(HOTNESS,), flowing=14),
        FaultKind.PUBLISHER,
        [
            "hotness.update.bug.file has been silent for 5 d: 60 messages were expected, and the"
            " limit is 9.5",
            "14 other topics as usual; the newest message came 2 s ago",
        ],
    ),
    "topics that became silent together are one finding": (
        fedora(silent=(HOTNESS, *(replace(HOTNESS, topic=t, together=True) for t in "abc"))),
        FaultKind.PUBLISHER,
        ["3 topics became silent at about the same time, so one cause is likely: a, b, c"],
    ),
    "too few messages of a topic come, and another comes in campaigns": (
        fedora(low=(LowTopic("copr", 4400.0, 4000.0),), campaigns=("mass.rebuild",)),
        FaultKind.NONE,
        [
            "too few messages of copr come: 4400 fewer than 40 % of what is usual, and the limit",
            "mass.rebuild comes in campaigns, some days on and many off",
        ],
    ),
    "a topic is silent for longer than configured": (
        fedora(silent=(SilentTopic("anitya", 2 * DAY),)),
        FaultKind.PUBLISHER,
        ["anitya has been silent for 2 d, longer than its limit"],
    ),
    "a topic is silent for longer than configured, and of no other it is known what is usual": (
        fedora(silent=(SilentTopic("anitya", 2 * DAY),), flowing=0, unlearned=3),
        FaultKind.PUBLISHER,
        ["3 other topics without a baseline yet; the newest message came 2 s ago"],
    ),
    "a topic that has to come died on the first day": (
        fedora(silent=(SilentTopic("pushes", 26 * HOUR, within=DAY),), flowing=0, unlearned=3),
        FaultKind.PUBLISHER,
        ["pushes has been silent for 26 h, longer than its limit of 24 h"],
    ),
    "topics that have to come never did": (
        fedora(silent=(NEVER, replace(NEVER, topic="pushes"), HOTNESS)),
        FaultKind.PUBLISHER,
        [
            "new.requests, pushes: no message since busmon began to watch, 26 h ago;"
            " expected within 24 h",
            "hotness.update.bug.file has been silent for 5 d",
        ],
    ),
    "a topic never came, and the archive says what is usual": (
        fedora(silent=(replace(NEVER, within=None, expected=40.0, limit=8.0),)),
        FaultKind.PUBLISHER,
        [
            "new.requests: no message since busmon began to watch, 26 h ago:"
            " 40 messages were expected, and the limit is 8.0",
        ],
    ),
    "no message of the bus ever came": (
        fedora(silent=(NEVER,), flowing=0, last=None),
        FaultKind.BUS,
        [
            "connected, but no message of any topic has come since busmon began to watch, 26 h ago;"
            " 1 topic silent for too long",
        ],
    ),
    # packit-service #221: no messages for four days; "was the problem on our side?"
    "the whole bus is silent, and every topic by now": (
        fedora(silent=(COPR, HOTNESS), flowing=0, last=2 * HOUR),
        FaultKind.BUS,
        [
            "connected, but no message of any topic has come for 2 h",
            "; 2 topics silent for too long",
        ],
    ),
    "the whole bus is silent, and the rare topics can't tell yet": (
        fedora(silent=(COPR,), flowing=14, last=2 * HOUR, overdue=12.0),
        FaultKind.BUS,
        ["no message of any topic has come for 2 h"],
    ),
    "one topic is silent on a bus whose other topics are rare": (
        fedora(silent=(COPR,), flowing=2, last=1.5 * HOUR, overdue=1.2),
        FaultKind.PUBLISHER,
        ["2 other topics as usual"],
    ),
    # The archive as a second witness.
    "the archive has what busmon did not receive of a topic": (
        fedora(silent=(replace(HOTNESS, archive=LOST), COPR), flowing=13),
        FaultKind.CONNECTION,
        [
            "the archive has at least 100 messages of hotness.update.bug.file since 1970-01-02"
            " 00:00:00 UTC, and busmon received none of them: busmon's own queue or its bindings"
            " are at fault\nalso (publisher): copr.build.end has been silent for 2 h",
            "also (publisher): 13 other topics as usual",
        ],
    ),
    "the archive has what busmon did not receive, and the listener is down": (
        fedora(silent=(replace(HOTNESS, archive=LOST),), flowing=14, monitor=DOWN),
        FaultKind.LISTENER,
        ["the listener is down", "also (connection): the archive", "14 other topics as usual"],
    ),
    "the archive has messages of more topics than are named": (
        fedora(silent=tuple(replace(HOTNESS, topic=f"t{n}", archive=LOST) for n in range(7))),
        FaultKind.CONNECTION,
        [
            "the archive has at least 100 messages of t4",
            "so it is with 2 more topics\n15 other topics",
        ],
    ),
    "the whole bus is silent here, and the archive goes on": (
        fedora(silent=(replace(COPR, archive=LOST), HOTNESS), flowing=0, last=2 * HOUR),
        FaultKind.CONNECTION,
        ["the archive has at least 100 messages", "no message of any topic has come for 2 h"],
    ),
    "the whole bus is silent, in the archive too": (
        fedora(silent=(replace(COPR, archive=NOTHING), HOTNESS), flowing=0, last=2 * HOUR),
        FaultKind.BUS,
        ["confirmed by the archive, which has received nothing more either: copr.build.end"],
    ),
    "the archive has nothing of a silent topic either": (
        fedora(silent=(replace(HOTNESS, archive=NOTHING),)),
        FaultKind.PUBLISHER,
        ["nothing more either: hotness.update.bug.file"],
    ),
    "the archive cannot tell": (
        fedora(silent=(replace(HOTNESS, archive=BLIND), replace(COPR, archive=ONE))),
        FaultKind.PUBLISHER,
        [
            "the archive cannot tell whether messages were lost (hotness.update.bug.file): it"
            " does not answer",
            "(copr.build.end): it has 1 message that busmon lacks, and that is evidence from 2 on",
        ],
    ),
    "the archive has more of a topic that is low": (
        fedora(low=(LowTopic("copr", 44.0, 40.0, Comparison(DAY, 900, 12)),)),
        FaultKind.NONE,
        ["since 1970-01-02 00:00:00 UTC the archive has 900 messages of copr, and busmon received"],
    ),
    "the archive has messages of yesterday that busmon did not receive": (
        fedora(
            differences=(
                Difference("fedora", "copr", 365, 8, 10, 0, 2, (), ("id-1", "id-2")),
                Difference("fedora", "koji", 365, 9, 8, 1, 0, ("id-3",)),
            )
        ),
        FaultKind.NONE,
        [
            "on 1971-01-01 the archive has 2 messages of copr that busmon did not receive"
            " (busmon trace ID): id-1, id-2"
        ],
    ),
    "messages of topics without a baseline show that the bus is alive": (
        fedora(silent=(COPR,), flowing=0, unlearned=4, last=5.0),
        FaultKind.PUBLISHER,
        ["the newest message came 5 s ago"],
    ),
    # fedora-messaging #208, at busmon's own connection: the heartbeat finds it out.
    "a zombie connection": (
        fedora(problem="silent: no heartbeat for 60 s", last=9 * DAY),
        FaultKind.CONNECTION,
        ["the connection is down: silent: no heartbeat for 60 s"],
    ),
    "the connection is down, and silence is its consequence": (
        fedora(problem="network: refused", silent=(COPR, HOTNESS), flowing=0, last=2 * HOUR),
        FaultKind.CONNECTION,
        ["network: refused"],
    ),
    "busmon has a bug on one bus": (
        fedora(problem="error: KeyError()", own_problem=True),
        FaultKind.BUSMON,
        ["busmon itself does not receive: error: KeyError()"],
    ),
    # fedora-messaging #208, at the listener: connected, and it received nothing for ten days.
    "the listener is a zombie": (
        fedora(stalled=37),
        FaultKind.LISTENER,
        ["it received nothing while the bus brought 37 messages for it"],
    ),
    # fedora-messaging #574: not restarted after a 404; also the queue deleted.
    "the listener does not consume": (
        fedora(monitor=Health(False, "answers that it is not consuming")),
        FaultKind.LISTENER,
        ["does not consume, according to its monitor: answers that it is not consuming"],
    ),
    "the listener is killed": (
        fedora(
            monitor=DOWN, tap=DOWN, passed=StageCounts(100, 60), fatal=(("copr.build.end", 240.0),)
        ),
        FaultKind.LISTENER,
        [
            "the listener is down",
            "the tap in the listener's process does not report",
            "the listener did not pass on 60 of 100 messages",
            "messages that can kill a listener came in the last 24 h: copr.build.end 4 min ago;",
        ],
    ),
    "the tap reports no more, and nothing else is known": (
        bus(NO_FACTS, tap=DOWN, queue=ListenerQueue.PERMANENT),
        FaultKind.LISTENER,
        [
            "the listener is down, or its tap cannot reach busmon: no answer",
            "while the listener is down, its queue keeps new messages",
        ],
    ),
    "the tap reports no more, but the listener consumes": (
        fedora(tap=DOWN),
        FaultKind.LISTENER,
        ["the tap in the listener's process does not report: no answer"],
    ),
    # Its queue is deleted at every disconnection: what the bus sends meanwhile is lost.
    "the listener was away for a moment": (
        fedora(passed=StageCounts(100, 3)),
        FaultKind.LISTENER,
        ["the listener did not pass on 3 of 100 messages of the last windows (busmon gaps)"],
    ),
    "without a tap": (
        fedora(tap=None, passed=StageCounts(3, 3)),
        FaultKind.LISTENER,
        ["the listener did not pass on 3 messages of the last windows, known to a minute (busmon"],
    ),
    # A message that fails fedora-messaging's validation vanishes: no fault of the listener's.
    "messages that would kill a listener, and it lives": (
        fedora(fatal=(("copr.build.end", 240.0),)),
        FaultKind.NONE,
        ["it passed on what it should"],
    ),
    "the workers died": (
        fedora(finished=StageCounts(50, 50), queues=(Queue("short-running", 60, 55),)),
        FaultKind.WORKERS,
        [
            "the workers did not finish 50 of 50 messages",
            "the queue short-running grows: 60 tasks waiting, 55 more than some minutes ago",
        ],
    ),
    "the workers died a moment ago": (
        fedora(
            finished=StageCounts(9, 2), queues=(Queue("long-running", 0, 0), Queue("short", 7, 0))
        ),
        FaultKind.WORKERS,
        ["the workers did not finish 2 of 9 messages", "\n7 tasks waiting in the queue short"],
    ),
    "the workers are too slow": (
        fedora(queues=(Queue("short-running", 400, 100),)),
        FaultKind.WORKERS,
        ["grows: 400 tasks waiting"],
    ),
    "few tasks come, and no worker takes one": (
        fedora(queues=(Queue("short-running", 12, 2, 1200.0),)),
        FaultKind.WORKERS,
        ["12 tasks waiting in the queue short-running, and no worker has taken one for 20 min"],
    ),
    "most tasks fail": (
        fedora(failing=(FailingTask("run_a", 2, 1), FailingTask("run_b", 3, 0))),
        FaultKind.WORKERS,
        ["recent tasks have failed: 3 of 3 run_b, 2 of 3 run_a"],
    ),
    "most handlers fail or never end": (
        fedora(handled=StageCounts(expected=8, missing=5)),
        FaultKind.WORKERS,
        ["the tasks behind 5 of 8 messages of the last windows failed or did not end"],
    ),
    "some handlers fail": (
        fedora(handled=StageCounts(expected=11, missing=5)),
        FaultKind.NONE,
        ["the tasks behind 5 of 11 messages of the last windows failed or did not end"],
    ),
    "some tasks fail": (
        fedora(failing=(FailingTask("run_a", 4, 0),)),
        FaultKind.NONE,
        ["the workers keep up"],
    ),
    "a long queue that does not grow": (
        fedora(queues=(Queue("short-running", 400, 9),)),
        FaultKind.NONE,
        ["the workers keep up"],
    ),
    # Three lists of topics kept by hand: they drift.
    "the rule set is out of date": (
        fedora(passed=StageCounts(100, 0, unexpected=4)),
        FaultKind.NONE,
        [
            "4 messages that busmon's rule set ignores: the rule set is out of date"
            " (busmon trace ID)"
        ],
    ),
    "no observer sees yet": (
        bus(NO_FACTS, monitor=UNKNOWN, tap=UNKNOWN, celery=UNKNOWN),
        FaultKind.NONE,
        [
            "not yet known: what the listener's monitor says",
            "of what the listener passes on",
            "of the workers",
        ],
    ),
    "the workers can't be seen": (
        fedora(celery=Health(False, "Redis refuses"), finished=None),
        FaultKind.NONE,
        ["nothing is known of the workers: Redis refuses"],
    ),
    "messages of an earlier outage are still lost": (
        fedora(
            lost=(LostMessages(Stage.LISTENER, 1, 0.0), LostMessages(Stage.WORKER, 5, 3600.0)),
            windows=2,
            unconfirmed=((Stage.LISTENER, 2),),
        ),
        FaultKind.NONE,
        [
            "all is well now; still lost: 6 messages of 2 windows\nconnected; ",
            "still lost at the stage listener: 1 message, the oldest of the window from"
            " 1970-01-01 00:00:00 UTC (busmon gaps)\nstill lost at the stage worker: 5 messages",
            "unconfirmed at the stage listener: 2 messages of times without data"
            " (busmon gaps --unconfirmed)",
        ],
    ),
    "the listener is down, and messages are still lost": (
        fedora(monitor=DOWN, lost=(LostMessages(Stage.LISTENER, 1, 0.0),)),
        FaultKind.LISTENER,
        ["still lost at the stage listener: 1 message"],
    ),
    # The most upstream cause wins, and what else is wrong is shown beside it. That one topic is
    # silent explains nothing of the others.
    "a publisher stopped, and the listener is down": (
        fedora(silent=(HOTNESS,), flowing=14, monitor=DOWN),
        FaultKind.LISTENER,
        ["the listener is down", "also (publisher): hotness"],
    ),
    "the listener is down, and the workers, too": (
        fedora(passed=StageCounts(9, 9), finished=StageCounts(3, 3)),
        FaultKind.LISTENER,
        ["also (workers): the workers did not finish 3 of 3"],
    ),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_verdict_names_who_is_at_fault_and_why(scenario: str) -> None:
    facts, kind, words = SCENARIOS[scenario]
    verdict = verdict_on(facts)
    assert verdict.kind is kind
    assert [word for word in words if word not in "\n".join(verdict.evidence)] == []


CENTOS_IS_DOWN = replace(NO_FACTS, name="centos", problem="network: refused")
OWN = Verdict(FaultKind.BUSMON, ("busmon itself does not work: ledger: disk full",))


@pytest.mark.parametrize(
    ("problem", "buses", "kinds"),
    [
        (None, (), {}),
        (None, (WELL,), {"fedora": FaultKind.NONE}),
        # A connection that is down on one bus does not hide what is wrong on another.
        (
            None,
            (fedora(monitor=DOWN), CENTOS_IS_DOWN),
            {"fedora": FaultKind.LISTENER, "centos": FaultKind.CONNECTION},
        ),
        (
            None,
            (WELL, replace(CENTOS_IS_DOWN, own_problem=True)),
            {"fedora": FaultKind.NONE, "centos": FaultKind.BUSMON},
        ),
        # While busmon itself is blind, no fact is believed.
        (
            "ledger: disk full",
            (fedora(monitor=DOWN), CENTOS_IS_DOWN),
            {"fedora": FaultKind.BUSMON, "centos": FaultKind.BUSMON},
        ),
    ],
)
def test_each_bus_has_a_verdict_of_its_own(
    problem: str | None, buses: tuple[BusFacts, ...], kinds: dict[str, FaultKind]
) -> None:
    verdicts = diagnose(Facts(problem=problem, buses=buses))
    assert {bus: verdict.kind for bus, verdict in verdicts.items()} == kinds
    assert not problem or set(verdicts.values()) == {OWN}
    expected = sorted([*kinds.values(), FaultKind.NONE], key=list(FaultKind).index)
    assert worst(verdicts.values()) is expected[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0, "0 s"),
        (0.0123, "0.012 s"),
        (2.5, "2.5 s"),
        (9.99, "10 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (172800, "2 d"),
    ],
)
def test_a_duration_is_shown_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "just now"), (0.99, "just now"), (1, "1 s ago"), (7200, "2 h ago")]
)
def test_an_age_of_less_than_a_second_is_now(seconds: float, text: str) -> None:
    assert format_age(seconds) == text
