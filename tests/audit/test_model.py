"""Windows and corrections against a model that keeps the same facts in sets."""

from collections import Counter, defaultdict
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
        self.dropped: set[str] = set()
        self.states: dict[str, str] = {}  # of the tasks that the listener published
        self.handlers: dict[str, dict[int, str]] = defaultdict(dict)  # states of what these sent
        self.trees: dict[str, list[float]] = defaultdict(list)  # when something happened to them
        self.spans: dict[str, list[tuple[float, float]]] = {kind: [] for kind in OBSERVERS}
        self.closed_until = NOW
        self.totals: Counter[tuple[str, Stage, str]] = Counter()
        self.missing: set[tuple[Stage, str]] = set()
        self.accepted: set[tuple[Stage, str]] = set()
        self.unconfirmed: set[tuple[Stage, str]] = set()
        self.running: dict[tuple[Stage, str], tuple[float, float]] = {}  # start, due
        self.starts: dict[str, float] = {}  # of each message's window

    def settle(self, now: float) -> None:
        """Close and correct what can be."""
        while self.close(now):
            pass
        for _ in STAGES:
            self.correct(now)

    def correct(self, now: float) -> None:
        """Correct what each message was, if it has reached its stage, failed or is due."""
        for stage, one in list(self.missing):
            if self.progress(stage, one) == "reached":
                self.missing.remove((stage, one))
                self.reach(stage, one, "recovered", now)
        for stage, one in list(self.unconfirmed):
            progress = self.progress(stage, one)
            if progress in {"reached", "failed"}:
                self.unconfirmed.remove((stage, one))
                self.end(stage, one, progress, now)
        for (stage, one), (start, due) in list(self.running.items()):
            progress = self.progress(stage, one)
            if progress in {"reached", "failed"}:
                del self.running[stage, one]
                self.end(stage, one, progress, now)
            elif due <= now - MAX_GAP_SECONDS:
                del self.running[stage, one]
                seen = progress != "unseen" and self.covered("celery", start, due)
                self.miss(one, stage, seen)

    def end(self, stage: Stage, one: str, progress: str, now: float) -> None:
        """Count a message that has reached its stage, or will not."""
        if progress == "failed":
            self.miss(one, stage)
        else:
            self.reach(stage, one, "messages", now)

    def reach(self, stage: Stage, one: str, what: str, now: float) -> None:
        """Count a message that reached its stage only now; the next stage is expected of it."""
        self.count(one, stage, what)
        for following in STAGES[STAGES.index(stage) + 1 :][:1]:
            self.running[following, one] = self.starts[one], now + LONGEST_TASK

    def close(self, now: float) -> bool:
        start, grace_end = self.closed_until, self.closed_until + WINDOW + GRACE
        alive = all(any(end >= grace_end for _, end in spans) for spans in self.spans.values())
        if now < grace_end or (now < grace_end + MAX_GAP_SECONDS and not alive):
            return False
        self.closed_until += WINDOW
        tap = self.covered("tap", start, grace_end)
        celery = tap and self.covered("celery", start, grace_end)
        covered = {Stage.LISTENER: tap, Stage.WORKER: celery, Stage.HANDLERS: celery}
        for stage, watched in covered.items():
            self.totals["", stage, "no_data"] += not watched
        for one, (_, handled, at) in self.received.items():
            if start <= at < start + WINDOW:
                self.starts[one] = start
                if handled:
                    self.count(one, Stage.BUS, "messages")
                    self.enter(one, covered)
                elif tap and one in self.passed:
                    self.count(one, Stage.LISTENER, "unexpected")
        return True

    def enter(self, one: str, covered: dict[Stage, bool]) -> None:
        """Count a message that is to be handled, of a window that is being closed."""
        for stage, watched in covered.items():
            progress = self.progress(stage, one)
            watched = watched and progress != "unseen"
            if progress == "running" and watched:
                start = self.starts[one]
                self.running[stage, one] = start, start + WINDOW + LONGEST_TASK
            elif progress != "reached":
                self.miss(one, stage, watched or progress == "failed")
            if progress != "reached":
                return
            self.count(one, stage, "messages")

    def progress(self, stage: Stage, one: str) -> str:
        if stage is Stage.LISTENER:
            not_passed = "failed" if one in self.dropped else "missing"
            return "reached" if one in self.passed else not_passed
        if stage is Stage.WORKER:
            running = "running" if one in self.states else "missing"
            return "reached" if self.finished(one) else running
        tree = {self.states[one], *self.handlers[one].values()}
        if "failed" in tree:
            return "failed"
        if tree != {"succeeded"}:
            return "running"
        times = self.trees[one]
        return "reached" if self.covered("celery", times[0], times[-1]) else "unseen"

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
        bench.at = self.now
        match event:
            case "receive", topic, handled:
                one = str(len(model.received))
                model.received[one] = topic, handled, self.now
                bench.receive(one, at=self.now, topic=topic, handled=handled)
            case "pass", n if str(n) in model.received:
                model.passed.add(str(n))
                bench.report(str(n))
            case "drop", n if str(n) in model.received and str(n) not in model.passed:
                model.dropped.add(str(n))
                bench.report(str(n), state="dropped")
            case "work", n, state if str(n) in model.passed and not model.finished(str(n)):
                model.trees[str(n)].append(self.now)
                model.states[str(n)] = state
                bench.work(str(n), state)
            case "handle", n, handler, state if str(n) in model.states:
                if model.handlers[str(n)].get(handler) != "succeeded":
                    model.trees[str(n)].append(self.now)
                    model.handlers[str(n)][handler] = state
                    bench.handle(str(n), str(handler), state)
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
                bench.windows.refresh()
            case "crash", steps:
                self.crash_after = steps

    def accept(self, one: str) -> None:
        with self.bench.ledger.write() as tables:
            for message in tables.open_messages.older(self.now + WINDOW, 1000):
                if message.trace.id == one:
                    tables.open_messages.move([(message, State.ACCEPTED)], self.now)
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
        for _ in STAGES:
            while self.bench.windows.correct(self.now):
                self.step()
        self.bench.windows.refresh()  # as the auditor does at the end of each round
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
        st.tuples(
            st.just("handle"),
            st.integers(0, 4),
            st.integers(0, 1),
            st.sampled_from(["started", "succeeded", "failed"]),
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
