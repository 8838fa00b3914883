"""What came while the listener was absent is lost, if its queue is deleted with its connection."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from busmon.audit import corrections
from busmon.audit.losses import Losses
from busmon.audit.scope import Observed
from busmon.ledger.acceptances import Selection
from busmon.ledger.batch import Observation, Series
from busmon.ledger.open_messages import State
from busmon.message import Stage
from busmon.settings.audit import Audit
from busmon.sources.listener_queue import QueueState
from tests.support.audit import BUS, AuditBench
from tests.support.queue_looks import GONE, HELD, Look, Looks

NOW = 1_790_000_100.0  # a multiple of a window's length, in which the bench begins before
DOWN, UP = 400, 700  # when the listener ended and started again; seconds
MESSAGES = 1120
MINUTE = 60
TAP = Observed(tap=BUS, temporary=frozenset({BUS}))
PROBE = Observed(temporary=frozenset({BUS}), queues=frozenset({BUS}))


class Night(AuditBench):
    """A listener that is down for five minutes, in which 1,120 messages come."""

    def __init__(self, observed: Observed) -> None:
        super().__init__(observed=observed, settings=Audit())
        self.sent = {f"lost-{n}": DOWN + 0.1 + n * (UP - DOWN) / MESSAGES for n in range(MESSAGES)}
        series = Series(BUS, "a", "handled", "")
        self.ledger.record([Observation(series, one, NOW + at) for one, at in self.sent.items()])
        for second in [*range(0, DOWN, 10), *range(UP + 5, 1200, 10)]:
            self.receive(f"passed-{second}", at=NOW + second)
            if observed.tap:
                self.report(f"passed-{second}", at=NOW + second)

    def runs(self, *, ended: bool = False, until: float = DOWN, since: float = UP) -> None:
        """Let a listener with a tap run before and afterwards; `ended`: in order."""
        for kind in ("tap", "listener"):
            self.watch(kind, NOW - 300, NOW + until)
            self.watch(kind, NOW + since, NOW + 2000)
        if ended:
            self.watch("ended", NOW + until, NOW + until)

    def lost(self, since: float = DOWN, until: float = UP) -> set[tuple[Stage, str]]:
        """Return those that came in this time."""
        return {(Stage.LISTENER, one) for one, at in self.sent.items() if since <= at < until}


@pytest.fixture
def with_tap() -> Iterator[Night]:
    night = Night(TAP)
    with closing(night.ledger):
        yield night


def test_all_that_came_while_the_listener_was_down_is_missing(with_tap: Night) -> None:
    with_tap.runs(ended=True)
    with_tap.close(NOW + 600 + 150)
    assert with_tap.missing() == with_tap.lost(until=600)
    with_tap.close(NOW + 900 + 150)
    assert with_tap.missing() == with_tap.lost()
    assert with_tap.totals()[Stage.LISTENER].missing == MESSAGES
    assert with_tap.windows.unconfirmed() == {}
    with with_tap.ledger.read() as tables:
        assert not any(one.estimated for one in tables.gaps.listed())
    with_tap.restart()
    with_tap.close(NOW + 900 + 200)
    assert with_tap.totals()[Stage.LISTENER].missing == MESSAGES


def test_until_the_listener_is_back_they_are_unconfirmed(with_tap: Night) -> None:
    for kind in ("tap", "listener"):
        with_tap.watch(kind, NOW - 300, NOW + DOWN)
    with_tap.close(NOW + 900 + 150)
    assert with_tap.missing() == set()
    assert with_tap.windows.unconfirmed()[BUS, Stage.LISTENER] == MESSAGES
    with_tap.runs()
    with_tap.close(NOW + 900 + 160)
    assert with_tap.missing() == with_tap.lost(since=DOWN + 5.1)


def test_what_a_killed_listener_may_have_passed_on_is_unconfirmed(with_tap: Night) -> None:
    with_tap.runs()
    with_tap.report("lost-1000", at=NOW + 800)  # by another way
    with_tap.close(NOW + 900 + 150)
    assert with_tap.open(State.UNCONFIRMED) == with_tap.lost(until=DOWN + 5.1)
    assert with_tap.missing() == with_tap.lost(since=DOWN + 5.1) - {(Stage.LISTENER, "lost-1000")}


SEEN: dict[str, tuple[dict[str, tuple[float, float]], tuple[float, float] | None]] = {
    "nothing else is known": ({}, (DOWN + 5.1, UP)),
    "its monitor answered before and after": ({"ready": (0, DOWN + 4)}, (DOWN + 5.1, UP)),
    "its monitor answered meanwhile": ({"ready": (550, 560)}, None),
    "its queue was there to the end": ({"present": (0, 680)}, None),
    "its queue was there all the time": ({"present": (0, 1200)}, None),
    "its queue was there longer, then gone": (
        {"present": (0, 520), "absent": (520, 730)},
        (520, UP),
    ),
}


@pytest.mark.parametrize("seen", SEEN)
def test_what_else_was_seen_can_contradict_an_absence(seen: str, with_tap: Night) -> None:
    spans, lost = SEEN[seen]
    with_tap.runs()
    for kind, (since, until) in spans.items():
        with_tap.watch(kind, NOW + since, NOW + until)
    with_tap.close(NOW + 900 + 150)
    assert with_tap.missing() == (with_tap.lost(*lost) if lost else set())
    assert (
        len(with_tap.missing()) + with_tap.windows.unconfirmed().get((BUS, Stage.LISTENER), 0)
        == MESSAGES
    )


def test_what_was_accepted_meanwhile_is_not_lost_as_well(with_tap: Night) -> None:
    for kind in ("tap", "listener"):
        with_tap.watch(kind, NOW - 300, NOW + DOWN)
    with_tap.close(NOW + 900 + 150)
    with_tap.runs()
    for kind, since, until in (("present", 0, 520), ("absent", 520, 730)):
        with_tap.watch(kind, NOW + since, NOW + until)
    scopes = with_tap.windows.scopes
    with with_tap.ledger.write() as tables:
        found = Losses(scopes, with_tap.settings).find(tables, NOW + 900)
        every = Selection(NOW, NOW + 1200)
        tables.acceptances.accept(1, tables.acceptances.matching(every, None, MESSAGES), NOW + 1060)
        corrections.apply(tables, found, NOW + 1061, scopes, NOW + 2000)
    assert len(found) > 0
    assert with_tap.missing() == set()


def test_a_short_absence_between_two_looks_is_no_contradiction(with_tap: Night) -> None:
    with_tap.runs(until=600, since=640)
    with_tap.watch("present", NOW, NOW + 1200)
    with_tap.close(NOW + 900 + 150)
    assert with_tap.missing() >= with_tap.lost(605.5, 640)


def test_what_a_broker_kept_for_busmon_proves_no_absence(with_tap: Night) -> None:
    """busmon was blind when the listener ended: what it received then may be older."""
    with_tap.runs()
    with_tap.blind((NOW + 300, NOW + 450))
    with_tap.close(NOW + 900 + 150)
    assert with_tap.missing() == with_tap.lost(since=450 + with_tap.settings.grace)


@pytest.mark.parametrize("ran", [True, False])
def test_a_listener_may_have_run_while_busmon_did_not(ran: bool, with_tap: Night) -> None:
    with_tap.runs(ended=True)
    with_tap.blind((NOW + 500, NOW + 520))
    if ran:  # it looked at the queue, and only had no connection
        with_tap.watch("queue", NOW + 490, NOW + 530)
    with_tap.close(NOW + 900 + 150)
    unheard = set() if ran else with_tap.lost(495, 520 + with_tap.settings.grace)
    assert with_tap.missing() == with_tap.lost() - unheard


def test_a_queue_that_outlives_its_connection_loses_nothing() -> None:
    night = Night(Observed(tap=BUS))
    with closing(night.ledger):
        night.runs(ended=True)
        night.close(NOW + 900 + 150)
        assert night.missing() == set()
        assert night.windows.unconfirmed()[BUS, Stage.LISTENER] == MESSAGES


def looks(until: int, *failed: int) -> Iterator[Look]:
    """Yield a look a minute, half a minute before and after."""
    for second in range(30, until, MINUTE):
        state: QueueState | None = GONE if DOWN <= second < UP else HELD
        yield NOW + second, None if second in failed else state


def test_without_a_tap_the_looks_at_the_queue_show_what_is_lost() -> None:
    night = Night(PROBE)
    with closing(night.ledger):
        probe = Looks(night.ledger)
        probe.at(*looks(600))
        night.close(NOW + 600 + 150)
        before = {(Stage.LISTENER, "passed-390")}
        assert night.missing() == night.lost(until=570) | before
        probe.at(*looks(1200))
        night.close(NOW + 900 + 150)
        after = {(Stage.LISTENER, f"passed-{n}") for n in range(UP + 5, 750, 10)}
        assert night.missing() == night.lost() | before | after
        night.restart()
        night.close(NOW + 900 + 200)
        assert night.totals()[Stage.LISTENER].missing == len(night.missing())
        assert night.windows.unconfirmed() == {}
        assert set(night.no_data().values()) == {0}
        with night.ledger.read() as tables:
            assert all(one.estimated for one in tables.gaps.listed())


def test_looks_that_fail_prove_nothing() -> None:
    night = Night(PROBE)
    with closing(night.ledger):
        Looks(night.ledger).at(*looks(1200, *range(330, 700, MINUTE)))
        night.close(NOW + 900 + 150)
        assert night.missing() == set()
