"""How soon a listener that receives nothing is found, in simulated hours."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import pytest

from busmon.diagnosis.standstill import STALLED_SECONDS, Standstill
from busmon.silence.reception import Reception, WatchedBus
from tests.support.ledgers import NOW

TRANSIT = 60.0
POLL = 15  # seconds between two answers of the monitor
DIES = 3000  # when the listener becomes a zombie
END = 7200
FAST = range(5, END, 20)
Spans = Sequence[tuple[int, int]]


def resets(every: int) -> Spans:
    return [(at, at + 5) for at in range(every, END, every)]


class Case(NamedTuple):
    """What happens meanwhile; seconds since the beginning."""

    brings: Collection[int] = FAST  # when a message is sent
    blind: Spans = ()  # busmon is not connected; the broker keeps its messages
    down: Spans = ()  # the listener does not run, and its messages are lost
    lags: int = 0  # busmon receives each message so much later
    jump: int = 0  # of the clock, forward, at DIES

    def found(self, dies: int | None) -> int | None:
        """Return when the listener is found to receive nothing."""
        standstill, reception = Standstill(TRANSIT), Reception(NOW)
        received = handled = restarts = connects = 0
        waiting: list[int] = []
        answer: tuple[int, int] | None = (0, 0)
        for second in range(END):
            now = NOW + second + (self.jump if second >= DIES else 0)
            if any(second == since for since, _ in self.down):
                restarts += 1
            up = not within(second, self.blind)
            connects += up and within(second - 1, self.blind)
            reception = reception.after(now, WatchedBus(up, connects))
            if second in self.brings:
                waiting.append(second)
                received += not within(second, self.down) and (dies is None or second < dies)
            if up:
                handled += sum(sent <= second - self.lags for sent in waiting)
                waiting = [sent for sent in waiting if sent > second - self.lags]
            if within(second, self.down):
                answer = None
            elif second % POLL == 0:
                answer = received, restarts
            if standstill.messages(now, answer, handled, reception):
                return second
        return None


def within(second: int, spans: Spans) -> bool:
    return any(since <= second < until for since, until in spans)


SPARE = POLL + 20 + 1  # until the monitor says it, and since the last message


@pytest.mark.parametrize(
    ("case", "seconds"),
    [
        (Case(), STALLED_SECONDS),
        (Case(blind=resets(240)), STALLED_SECONDS),
        (Case(blind=resets(60)), STALLED_SECONDS),
        (Case(blind=[(DIES - 2000, DIES - 5)]), STALLED_SECONDS + TRANSIT),
        (Case(blind=[(DIES + 5, DIES + 200)]), STALLED_SECONDS + 200),
        (Case(brings=range(DIES - 30, END, 900)), 900 - 30 + TRANSIT),
        (Case(down=[(DIES - 100, DIES - 50)], brings=range(DIES, END, 20)), STALLED_SECONDS),
        (Case(jump=3600), STALLED_SECONDS + TRANSIT),
    ],
)
def test_a_zombie_is_found_after_five_minutes(case: Case, seconds: float) -> None:
    found = case.found(DIES)
    assert found is not None
    assert STALLED_SECONDS - 60 <= found - DIES <= seconds + SPARE


QUIET = range(5, DIES, 20)  # nothing comes afterwards
HEALTHY = {
    "messages come": Case(),
    "they come rarely": Case(brings=range(7, END, 1200)),
    "the bus is quiet": Case(brings=QUIET),
    "busmon is some seconds late": Case(brings=QUIET, lags=20),
    "resets every 4 minutes": Case(brings=QUIET, blind=resets(240)),
    "busmon was away, and receives what was kept": Case(brings=QUIET, blind=[(100, DIES + 600)]),
    "it receives that slowly": Case(brings=QUIET, blind=[(100, DIES)], lags=200),
    "the listener was restarted": Case(brings=QUIET, down=[(DIES - 60, DIES)]),
    "the broker was away from both": Case(
        brings=QUIET, blind=[(DIES - 60, DIES)], down=[(DIES - 60, DIES)]
    ),
    "a broker that was away from busmon longer": Case(
        brings=QUIET, blind=[(DIES - 200, DIES + 400)], down=[(DIES - 200, DIES - 150)]
    ),
    "the clock jumps": Case(brings=QUIET, jump=7200),
}


@pytest.mark.parametrize("case", HEALTHY.values(), ids=HEALTHY)
def test_no_healthy_listener_is_taken_for_a_zombie(case: Case) -> None:
    assert case.found(None) is None
