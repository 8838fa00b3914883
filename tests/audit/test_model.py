"""Windows and corrections against a model that keeps the same facts in sets."""

from collections import Counter
from contextlib import closing
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from busmon.audit.corrections import EXPIRY_SECONDS
from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.messages import FINISHED
from busmon.ledger.open_messages import State
from busmon.message import Stage
from tests.support.audit import AUDIT, NOW, STAGES, AuditBench

WINDOW, GRACE, LONGEST_TASK = AUDIT.window, AUDIT.grace, AUDIT.longest_task
OBSERVERS = ("tap", "celery")


class Model:
    """The facts of an audit, and what its totals should be."""

    def __init__(self) -> None:
        self.received: dict[str, tuple[str, bool, float]] = {}  # topic, handled, when
        self.passed: set[str] = set()
        self.states: dict[str, str] = {}  # of tasks
        self.spans: dict[str, list[tuple[float, float]]] = {kind: [] for kind in OBSERVERS}
        self.closed_until = NOW
        self.totals: Counter[tuple[str, Stage, str]] = Counter()
        self.missing: set[tuple[Stage, str]] = set()
        self.accepted: set[tuple[Stage, str]] = set()
        self.unconfirmed: set[tuple[Stage, str]] = set()
        self.running: dict[str, tuple[float, float]] = {}  # start, due
        self.starts: dict[str, float] = {}  # of each message's window

    def settle(self, now: float) -> None:
        """Close and correct what can be."""
        while self.close(now):
            pass
        recovered = [(stage, one) for stage, one in self.missing if self.reached(stage, one)]
        confirmed = [(stage, one) for stage, one in self.unconfirmed if self.reached(stage, one)]
        ended = [
            one
            for one, (_, due) in self.running.items()
            if self.finished(one) or due <= now - MAX_GAP_SECONDS
        ]
        for stage, one in recovered:
            self.missing.remove((stage, one))
            self.count(one, stage, "recovered")
        for stage, one in confirmed:
            self.unconfirmed.remove((stage, one))
            self.count(one, stage, "messages")
        for stage, one in recovered + confirmed:
            if stage is Stage.LISTENER:
                self.running[one] = self.starts[one], now + LONGEST_TASK
        for one in ended:
            self.end(one)

    def close(self, now: float) -> bool:
        start, grace_end = self.closed_until, self.closed_until + WINDOW + GRACE
        alive = all(any(end >= grace_end for _, end in spans) for spans in self.spans.values())
        if now < grace_end or (now < grace_end + MAX_GAP_SECONDS and not alive):
            return False
        self.closed_until += WINDOW
        tap = self.covered("tap", start, grace_end)
        celery = tap and self.covered("celery", start, grace_end)
        self.totals["", Stage.LISTENER, "no_data"] += not tap
        self.totals["", Stage.WORKER, "no_data"] += not celery
        for one, (_, handled, at) in self.received.items():
            if start <= at < start + WINDOW:
                self.starts[one] = start
                self.enter(one, handled, tap, celery)
        return True

    def enter(self, one: str, handled: bool, tap: bool, celery: bool) -> None:
        """Count a message of a window that is being closed."""
        if handled:
            self.count(one, Stage.BUS, "messages")
        if tap and not handled and one in self.passed:
            self.count(one, Stage.LISTENER, "unexpected")
        if not handled:
            return
        if one not in self.passed:
            self.miss(one, Stage.LISTENER, tap)
            return
        self.count(one, Stage.LISTENER, "messages")
        if self.finished(one):
            self.count(one, Stage.WORKER, "messages")
        elif not celery:
            self.unconfirmed.add((Stage.WORKER, one))
        elif one in self.states:
            start = self.starts[one]
            self.running[one] = start, start + WINDOW + LONGEST_TASK
        else:
            self.miss(one, Stage.WORKER)

    def end(self, one: str) -> None:
        """Count a message that a worker finished, or had for too long."""
        start, due = self.running.pop(one)
        if self.finished(one):
            self.count(one, Stage.WORKER, "messages")
        else:
            self.miss(one, Stage.WORKER, self.covered("celery", start, due))

    def miss(self, one: str, stage: Stage, watched: bool = True) -> None:
        if not watched:
            self.unconfirmed.add((stage, one))
            return
        self.count(one, stage, "missing")
        self.missing.add((stage, one))

    def accept(self, one: str) -> None:
        accepted = {(stage, other) for stage, other in self.missing if other == one}
        self.missing -= accepted
        self.accepted |= accepted

    def expire(self, before: float) -> None:
        for stage, one in [place for place in self.missing if self.starts[place[1]] < before]:
            self.missing.remove((stage, one))
            self.count(one, stage, "expired")

    def count(self, one: str, stage: Stage, what: str) -> None:
        self.totals[self.received[one][0], stage, what] += 1

    def reached(self, stage: Stage, one: str) -> bool:
        return one in self.passed if stage is Stage.LISTENER else self.finished(one)

    def finished(self, one: str) -> bool:
        return self.states.get(one) in FINISHED

    def covered(self, kind: str, start: float, end: float) -> bool:
        return any(since <= start and until >= end for since, until in self.spans[kind])


class Both:
    """Busmon's audit and the model, which live through the same events."""

    def __init__(self, bench: AuditBench) -> None:
        self.bench, self.model = bench, Model()
        self.now = NOW
        self.watching_since = dict.fromkeys(OBSERVERS, NOW)
        self.crash_after = 0  # transactions

    def apply(self, event: tuple[Any, ...]) -> None:
        bench, model = self.bench, self.model
        match event:
            case "receive", topic, handled:
                one = str(len(model.received))
                model.received[one] = topic, handled, self.now
                bench.receive(one, at=self.now, topic=topic, handled=handled)
            case "pass", n if str(n) in model.received:
                model.passed.add(str(n))
                bench.report(str(n))
            case "drop", n if str(n) in model.received and str(n) not in model.passed:
                bench.report(str(n), state="dropped")
            case "work", n, state if str(n) in model.passed and not model.finished(str(n)):
                model.states[str(n)] = state
                bench.work(str(n), state)
            case "wait", seconds:
                self.wait(seconds)
            case "away", kind, seconds:
                self.watching_since[kind] = self.now + seconds
            case _:
                self.interfere(event)

    def interfere(self, event: tuple[Any, ...]) -> None:
        """Let a person, time or a crash end something."""
        bench, model = self.bench, self.model
        match event:
            case "accept", n:
                model.accept(str(n))
                self.accept(str(n))
            case "expire", seconds:
                model.expire(self.now - seconds)
                while bench.windows.expire(self.now - seconds + EXPIRY_SECONDS):
                    pass
            case "crash", steps:
                self.crash_after = steps

    def accept(self, one: str) -> None:
        with self.bench.ledger.write() as tables:
            for message in tables.open_messages.older(self.now + WINDOW, 1000):
                if message.trace.id == one:
                    assert tables.open_messages.move(message, State.ACCEPTED, self.now)
        self.bench.windows.refresh()

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            self.settle()

    def settle(self) -> None:
        for kind, since in self.watching_since.items():
            if self.now < since:
                continue
            spans = self.model.spans[kind]
            if spans and spans[-1][0] == since:
                spans.pop()
            spans.append((since, self.now))
            self.bench.watch(kind, since, self.now)
        while self.bench.windows.close_next(self.now):
            self.step()
        while self.bench.windows.correct(self.now):
            self.step()
        self.model.settle(self.now)

    def step(self) -> None:
        """Let busmon die and start again, if it is time for that."""
        self.crash_after -= 1
        if self.crash_after == 0:
            self.bench.restart()

    def check(self) -> None:
        """Check that each missing message is open, or has ended for one reason."""
        bench, model = self.bench, self.model
        assert bench.missing() == model.missing
        assert bench.open(State.UNCONFIRMED) == model.unconfirmed
        assert bench.open(State.ACCEPTED) == model.accepted
        accepted = Counter((model.received[one][0], stage) for stage, one in model.accepted)
        gaps = bench.windows.open_gaps()
        for place, totals in bench.windows.totals().items():
            still = gaps[place].messages if place in gaps else 0
            ended = totals.recovered + accepted[place.topic, place.stage] + totals.expired
            assert totals.missing == still + ended
        assert sum(gap.messages for gap in gaps.values()) == len(model.missing)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), st.sampled_from("ab"), st.booleans()),
        st.tuples(st.just("receive"), st.just("a"), st.just(True)),
        st.tuples(st.just("pass"), st.integers(0, 4)),
        st.tuples(st.just("drop"), st.integers(0, 4)),
        st.tuples(
            st.just("work"), st.integers(0, 4), st.sampled_from(["started", "succeeded", "failed"])
        ),
        st.tuples(st.just("wait"), st.sampled_from((1, 9, 13, 45, 80))),
        st.tuples(st.just("away"), st.sampled_from(OBSERVERS), st.integers(1, 60)),
        st.tuples(st.just("accept"), st.integers(0, 4)),
        st.tuples(st.just("expire"), st.sampled_from((15, 60))),
        st.tuples(st.just("crash"), st.integers(1, 6)),
    ),
    min_size=12,
    max_size=30,
)


@settings(max_examples=100)
@given(EVENTS)
def test_gaps_late_reports_absences_and_crashes_agree_with_a_model(
    events: list[tuple[Any, ...]],
) -> None:
    bench = AuditBench()
    with closing(bench.ledger):
        both = Both(bench)
        for event in events:
            both.apply(event)
            both.check()
        both.wait(30)
        model = both.model
        found: Counter[tuple[str, Stage, str]] = Counter()
        for (_, topic, stage), totals in bench.windows.totals().items():
            found.update({(topic, stage, name): n for name, n in totals._asdict().items()})
        assert +found == +model.totals
        windows: Counter[tuple[str, Stage, str]] = Counter()
        for row in (row for stage in STAGES for row in bench.rows(stage)):
            _, topic, stage = row.place
            if row.totals and topic:
                windows.update(
                    {(topic, stage, name): n for name, n in row.totals._asdict().items()}
                )
        # What expires is long after its window, and only in the totals.
        in_windows = {key: n for key, n in found.items() if key[0] and key[2] != "expired"}
        assert +windows == +Counter(in_windows)
