"""How long messages took from stage to stage, each message once."""

from busmon.audit.scope import Observed
from busmon.ledger.messages import MessageTrace
from busmon.ledger.open_messages import OpenMessage, State
from busmon.message import Stage
from tests.support.levels import BUS, NOW, TOPIC, LevelsBench

NONE = (0, 0.0)


def test_each_step_of_a_message_is_counted_once(bench: LevelsBench) -> None:
    bench.receive("1", at=10)
    bench.report("1", at=12, reported=13)
    bench.work("1", 14, started=15, succeeded=19)
    nothing = {"listener": NONE, "started": NONE, "worker": NONE, "handlers": NONE}
    assert bench.count(at=42) == nothing  # what is reported may not be complete yet
    steps = nothing | {"listener": (1, 2.0), "started": (1, 3.0), "worker": (1, 4.0)}
    for at in (60, 75, 90, 50, 105):  # once the clock is set back
        assert bench.count(at=at) == steps
    bench.restart(bench.now(at=120))
    assert bench.count(at=200) == nothing


def test_what_is_reported_late_and_in_any_order_is_counted_then(bench: LevelsBench) -> None:
    bench.work("2", 5, started=5, succeeded=6)
    bench.receive("1", "2", at=1)
    bench.report("1", at=2)
    assert bench.count(at=100)["listener"] == (1, 1.0)
    assert bench.count(at=100)["started"] == NONE
    bench.report("2", at=4, reported=90)  # the tap could not send it before
    bench.work("1", 95, started=3000, succeeded=3004)
    assert bench.count(at=1000)["started"] == (1, 1.0)
    assert bench.count(at=3100) == {
        "listener": (2, 4.0),
        "started": (2, 2999.0),
        "worker": (2, 5.0),
        "handlers": NONE,
    }


def test_the_last_handler_counts_if_all_have_succeeded(bench: LevelsBench) -> None:
    for message, reported in {"two": 1, "quick": 1, "slow": 1, "failed": 1, "late": 300}.items():
        bench.receive(message)
        bench.report(message, at=1, reported=reported)
        bench.work(message, 2, started=2, succeeded=10)
        bench.handle(message, at=5, succeeded=7)  # before the task that sent it
    bench.handle("two", at=6, succeeded=12)
    bench.handle("slow", at=6, started=6)
    bench.handle("slow", at=8, succeeded=110)
    bench.handle("failed", at=6, failed=20)
    bench.handle("late", at=6, succeeded=14)
    assert bench.count(at=60)["handlers"] == (2, 2.0)  # two and quick
    assert bench.count(at=200)["handlers"] == (2, 2.0)
    bench.handle("slow", at=6, succeeded=205)
    assert bench.count(at=300)["handlers"] == (3, 197.0)
    assert bench.count(at=400)["handlers"] == (4, 201.0)  # late, too
    assert bench.count(at=500)["handlers"] == (4, 201.0)


def test_a_task_that_fails_and_runs_again_is_counted_once(bench: LevelsBench) -> None:
    bench.receive("1")
    bench.report("1", at=1)
    bench.work("1", 1, started=1, failed=2)
    assert bench.count(at=100)["worker"] == (1, 1.0)
    bench.work("1", 200, started=200, succeeded=201)
    assert bench.count(at=300)["worker"] == (1, 1.0)


def test_what_is_passed_on_again_to_heal_a_gap_does_not_count_again(bench: LevelsBench) -> None:
    bench.receive("1")
    bench.report("1", at=1)
    before = bench.count(at=100)
    with bench.ledger.write() as tables:
        trace = MessageTrace("1", TOPIC, handled=True)
        missing = OpenMessage(NOW, NOW + 300, BUS, Stage.WORKER, State.MISSING, trace)
        tables.open_messages.add([missing])
    bench.report("1", at=200, task="another")
    assert bench.count(at=300) == before


def test_only_what_the_rules_handle_and_the_listener_passes_counts(bench: LevelsBench) -> None:
    bench.receive("ignored", outcome="ignored")
    bench.receive("dropped", "early")
    bench.report("ignored", "unknown", at=1)
    bench.report("dropped", at=1, state="dropped")
    assert bench.count(at=100)["listener"] == NONE
    bench.report("early", at=-5, reported=90)  # the listener was faster than busmon
    assert bench.count(at=200)["listener"] == (1, 0.0)


def test_only_steps_that_somebody_observes_have_series() -> None:
    for observed, steps in {
        Observed(): set(),
        Observed(celery=BUS): set(),
        Observed(tap=BUS): {"listener"},
        Observed(tap=BUS, celery=BUS): {"listener", "started", "worker", "handlers"},
    }.items():
        assert set(LevelsBench(observed).count(at=100)) == steps
