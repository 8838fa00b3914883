"""Windows and corrections against a model that keeps the same facts in sets."""

from collections import Counter
from contextlib import closing
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from busmon.ledger.coverage import MAX_GAP_SECONDS
from busmon.ledger.messages import FINISHED
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
        self.running: dict[str, tuple[float, float]] = {}  # start, due
        self.no_data: set[float] = set()  # starts of windows without data of the workers
        self.starts: dict[str, float] = {}  # of each message's window

    def settle(self, now: float) -> None:
        """Close and correct what can be."""
        while self.close(now):
            pass
        recovered = [(stage, one) for stage, one in self.missing if self.reached(stage, one)]
        ended = [
            one
            for one, (_, due) in self.running.items()
            if self.finished(one) or due <= now - MAX_GAP_SECONDS
        ]
        for stage, one in recovered:
            self.missing.remove((stage, one))
            self.count(one, stage, "recovered")
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
        if not celery:
            self.no_data.add(start)
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
        if not tap or not handled:
            return
        if one not in self.passed:
            self.miss(one, Stage.LISTENER)
            return
        self.count(one, Stage.LISTENER, "messages")
        if not celery:
            return
        if self.finished(one):
            self.count(one, Stage.WORKER, "messages")
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
        elif self.covered("celery", start, due):
            self.miss(one, Stage.WORKER)
        elif start not in self.no_data:
            self.no_data.add(start)
            self.totals["", Stage.WORKER, "no_data"] += 1

    def miss(self, one: str, stage: Stage) -> None:
        self.count(one, stage, "missing")
        self.missing.add((stage, one))

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
            case ("restart",):
                bench.restart()

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
        self.bench.close(self.now)
        self.model.settle(self.now)


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
        st.tuples(st.just("restart")),
    ),
    min_size=12,
    max_size=30,
)


@settings(max_examples=100)
@given(EVENTS)
def test_late_reports_absences_and_restarts_agree_with_a_model(
    events: list[tuple[Any, ...]],
) -> None:
    bench = AuditBench()
    with closing(bench.ledger):
        both = Both(bench)
        for event in events:
            both.apply(event)
        both.wait(30)
        model = both.model
        found: Counter[tuple[str, Stage, str]] = Counter()
        for (_, topic, stage), totals in bench.windows.totals().items():
            found.update({(topic, stage, name): n for name, n in totals._asdict().items()})
        assert +found == +model.totals
        assert bench.missing() == model.missing
        windows: Counter[tuple[str, Stage, str]] = Counter()
        for row in (row for stage in STAGES for row in bench.rows(stage)):
            _, topic, stage = row.place
            if row.totals and topic:
                windows.update(
                    {(topic, stage, name): n for name, n in row.totals._asdict().items()}
                )
        assert +windows == +Counter({key: n for key, n in found.items() if key[0]})
