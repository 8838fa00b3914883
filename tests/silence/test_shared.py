"""Blind is a time in which no busmon of those with one ledger received."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from busmon.ledger.ledger import Ledger
from busmon.ledger.values import Interval
from busmon.silence import shared
from busmon.silence.blind_time import BlindTime
from busmon.silence.shared import FRESH_SECONDS, FollowersReception
from busmon.sources.base import Cause, ConnectionState
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import NOW, database_at, judged


class Replicas:
    """A busmon that leads and one that follows, both connected since NOW; ticks of a second."""

    def __init__(self, leader: Ledger, follower: Ledger) -> None:
        self.now, self.leader = NOW, leader
        self.leads, self.follows = ConnectionState(), ConnectionState()
        self.leads.up()
        self.follows.up()
        self.follower = FollowersReception(follower, {"fedora": self.follows})
        self.restart()
        self.run(2)

    def restart(self) -> None:
        """Let another busmon lead, which is connected as the last one was."""
        self.blind = BlindTime(self.leader, {"fedora": self.leads}, self.now)

    def run(self, seconds: int, *, led: bool = True) -> None:
        """Let so many seconds pass."""
        for _ in range(seconds):
            self.now += 1
            self.follower.tick(self.now)
            if led:
                self.blind.tick(self.now, self.now - NOW + 1000)

    def intervals(self) -> list[Interval]:
        """Return the blind times that have ended, in seconds since NOW, without the first."""
        known = self.blind.reception("fedora").blind_times[1:]
        return [Interval(since - NOW, until - NOW) for since, until in known]

    def seconds(self) -> float:
        return self.blind.seconds(self.now, self.now - NOW + 1000)["fedora"]


@pytest.fixture
def replicas(ledger_server: LedgerServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Replicas]:
    monkeypatch.setattr(shared, "READ_SECONDS", 60.0)  # the machine may stand still
    database = database_at(ledger_server.url_of(ledger_server.cleared()))
    with ExitStack() as stack:
        leader = stack.enter_context(closing(Ledger(database)))
        follower = stack.enter_context(closing(Ledger(database, follows=True)))
        yield Replicas(leader, follower)


def test_the_leader_is_not_blind_while_a_follower_receives(replicas: Replicas) -> None:
    before = replicas.seconds()
    replicas.leads.down(Cause.NETWORK, "gone")
    replicas.run(60)
    replicas.leads.up()
    replicas.run(3)
    assert (replicas.seconds(), replicas.intervals()) == (before, [])


def test_it_is_blind_from_when_on_the_last_one_received(replicas: Replicas) -> None:
    before = replicas.seconds()
    replicas.leads.down(Cause.NETWORK, "gone")
    replicas.run(8)
    replicas.follows.down(Cause.NETWORK, "gone, too")
    replicas.run(20)
    assert replicas.seconds() == before + 20
    replicas.follows.up()
    replicas.run(20)
    replicas.leads.up()
    replicas.run(3)
    assert (replicas.seconds(), replicas.intervals()) == (before + 21, [(10, 31)])


def test_it_is_not_blind_while_nobody_leads_and_a_follower_receives(replicas: Replicas) -> None:
    before = replicas.seconds()
    replicas.run(40, led=False)  # the leader was killed
    replicas.restart()
    replicas.run(3)
    assert (replicas.seconds(), replicas.intervals()) == (before, [])


def test_it_is_blind_if_the_follower_ended_with_the_leader(replicas: Replicas) -> None:
    before = replicas.seconds()
    replicas.leads.down(Cause.NETWORK, "gone")
    replicas.follows.down(Cause.NETWORK, "gone")
    replicas.run(int(FRESH_SECONDS) + 14, led=False)
    replicas.restart()
    replicas.leads.up()
    replicas.run(3)
    assert replicas.seconds() == pytest.approx(before + 21, abs=1)


def test_what_a_follower_finds_forgotten_is_blind_since_the_last_message(
    replicas: Replicas,
) -> None:
    replicas.leader.record(judged(1, at=NOW + 1))
    replicas.run(8)
    for link in (replicas.leads, replicas.follows):
        link.down(Cause.NETWORK, "gone")
    replicas.run(10)
    replicas.follows.up(forgotten=True)
    replicas.leads.up()
    replicas.run(3)
    assert replicas.intervals() == [(1, 21)]
    assert len(replicas.blind.history()) == 1
