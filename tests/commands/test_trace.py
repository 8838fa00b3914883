"""`busmon trace`: what it prints of a message."""

import json
from pathlib import Path

import pytest

from busmon.ledger.batch import Observation, Series
from busmon.ledger.tasks import Origin
from busmon.text import format_span, format_time
from tests.support.command import busmon
from tests.support.past import BUS, IDS, TOPIC, Past


def trace(past: Past, message_id: str, *words: str, status: int = 0) -> str:
    return busmon("trace", message_id, "--ledger", past.path, *words, status=status).stdout


def test_trace_shows_each_stage_of_a_message(past: Past) -> None:
    past.receive(IDS[0], after=1)
    past.report(IDS[0])
    task = f"task-of-{IDS[0]}"
    with past.ledger.write() as tables:
        tables.tasks.receive(task, "t", past.start + 2)
        tables.tasks.change(task, "started", past.start + 3)
        tables.tasks.change(task, "retried", past.start + 4)
        tables.tasks.change(task, "failed", past.start + 5)
    text = trace(past, IDS[0])
    assert text.startswith(f"{IDS[0]}\n  bus       fedora\n  topic     {TOPIC}\n  received  20")
    assert "UTC, 0.25 s after it was sent\n  judged    handled\n" in text
    assert f"\n  listener  passed as task {task}, reported 20" in text
    assert "\n  worker    failed, received 20" in text
    assert ", started 20" in text
    assert ", finished 20" in text
    assert text.endswith(", retries 1\n")


def add_tree(past: Past) -> str:
    """Let the task of a message send handlers; return the id of the first."""
    past.receive(IDS[0], after=1)
    past.report(IDS[0])
    root, start = f"task-of-{IDS[0]}", past.start
    with past.ledger.write() as tables:
        tasks = tables.tasks
        tasks.receive(root, "t", start + 2)
        tasks.send("a", "run_a", start + 3, Origin(root, root))
        tasks.receive("a", "run_a", start + 4, Origin(root, root))
        tasks.change("a", "failed", start + 5)
        tasks.receive("aa", "run_\n", start + 6, Origin(root, "a"))
        tasks.change("aa", "succeeded", start + 7)
        for one, other in ("cd", "dc"):  # no worker does this
            tasks.send(one, "circle", start + 8, Origin(root, other))
        tasks.change(root, "succeeded", start + 9)
        for number in range(20):  # each sends the next one
            tasks.send(f"e{number}", "chain", start + 9, Origin(root, f"e{number - 1}"))
    return "a"


def test_trace_shows_the_tasks_behind_that_of_a_message(past: Past) -> None:
    first = add_tree(past)
    text = trace(past, IDS[0])
    at = [format_time(past.start + seconds) for seconds in range(10)]
    assert (
        f"  worker    succeeded, received {at[2]}, finished {at[9]}\n"
        "  handlers  1 of 24 tasks succeeded\n"
        f"              run_a: failed, sent {at[3]}, received {at[4]}, finished {at[5]}, id a\n"
        f"                run_\\n: succeeded, received {at[6]}, finished {at[7]}, id aa\n"
        f"              chain: sent, sent {at[9]}, id e0\n"
        f"                chain: sent, sent {at[9]}, id e1\n"
    ) in text
    assert text.count("  circle: sent") == 2
    assert max(len(line) - len(line.lstrip()) for line in text.splitlines()) == 12 + 16
    assert trace(past, first) == trace(past, f"task-of-{IDS[0]}") == text
    [found] = json.loads(trace(past, first, "--json"))
    tasks = {task["id"]: task for task in found["tasks"]}
    assert len(tasks) == 25
    assert tasks[found["task"]]["parent"] is None
    assert (tasks["a"]["parent"], tasks["aa"]["parent"]) == (found["task"], "a")
    assert tasks["a"] == {
        "id": "a",
        "name": "run_a",
        "state": "failed",
        "root": found["task"],
        "parent": found["task"],
        "sent_at": past.start + 3,
        "received_at": past.start + 4,
        "started_at": None,
        "finished_at": past.start + 5,
        "retries": 0,
    }


def test_trace_says_if_the_tap_was_watching(past: Past) -> None:
    past.receive(IDS[0], after=1, handled=False)
    assert "  judged    ignored releng\n" in trace(past, IDS[0])
    assert "  listener  no report; no tap was ever heard of\n" in trace(past, IDS[0])
    with past.ledger.write() as tables:
        tables.buses.set_tap_reported(BUS, past.start)
    assert "  listener  no report; no tap was reporting at that time\n" in trace(past, IDS[0])
    with past.ledger.write() as tables:
        tables.coverage.add_span(f"ready:{BUS}", past.start, past.start + 9, 0)
    assert "at that time, but the listener's monitor answered\n" in trace(past, IDS[0])
    past.watch(-100, 100)
    assert "  listener  no report, although its tap was reporting at" in trace(past, IDS[0])


def run_listener(past: Past, *runs: tuple[float, float]) -> None:
    """Let a listener run with a tap; seconds after the start. It ends each time in order."""
    past.watch(min(since for since, _ in runs), max(until for _, until in runs))
    with past.ledger.write() as tables:
        tables.buses.set_tap_reported(BUS, past.start)
        for since, until in runs:
            span = past.start + since, past.start + until
            tables.coverage.add_span(f"listener:{BUS}", *span, 0)


def configuration(tmp_path: Path, queue: str) -> Path:
    (tmp_path / "listener.toml").write_text(
        f"[queues.packit]\ndurable = true\narguments = {{}}\n{queue}\n"
        '[[bindings]]\nexchange = "amq.topic"\nqueue = "packit"\nrouting_keys = ["#"]\n'
    )
    config = tmp_path / "busmon.toml"
    config.write_text(
        '[ledger]\npath = "ledger.sqlite"\n[buses.fedora]\nrules = "packit"\ntype = "amqp"\n'
        'config = "listener.toml"\n'
    )
    return config


QUEUES = {
    "temporary": "auto_delete = true\nexclusive = true",
    "permanent": "auto_delete = false\nexclusive = false",
}


def traced(tmp_path: Path, queue: str, message_id: str) -> str:
    """Return what is said of the listener."""
    config = configuration(tmp_path, QUEUES[queue])
    text = busmon("trace", message_id, "-c", config).stdout
    return text.partition("  listener  ")[2].splitlines()[0]


@pytest.mark.parametrize(
    ("queue", "then"),
    [
        ("temporary", "its queue did not exist then, so the listener never received this"),
        ("permanent", "its queue kept this for the listener"),
    ],
)
def test_trace_says_if_no_listener_ran_when_a_message_came(
    past: Past, tmp_path: Path, queue: str, then: str
) -> None:
    run_listener(past, (0, 10), (20, 40))
    past.receive(IDS[0], after=15)
    span = format_span(past.start + 10, past.start + 20)
    assert traced(tmp_path, queue, IDS[0]) == (
        f"no report: as far as its tap shows, no listener ran from {span}; {then}"
    )
    past.receive(IDS[1], after=60)
    since = format_time(past.start + 40)
    assert f"no listener has run since {since}; " in traced(tmp_path, queue, IDS[1])
    past.receive(IDS[2], after=-5)
    until = format_time(past.start)
    assert f"no listener with a tap ran before {until}; " in traced(tmp_path, queue, IDS[2])
    [found] = json.loads(trace(past, IDS[0], "--json"))
    assert found["listener"]["absent"] == [past.start + 10, past.start + 20]
    assert found["listener"]["queue"] == "unknown"


def test_a_listener_that_runs_now_or_that_its_monitor_saw_was_not_absent(past: Past) -> None:
    run_listener(past, (0, 10), (20, 110))
    past.receive(IDS[0], after=115)  # soon after the tap's last report: the next will come
    assert "; no tap was reporting at that time\n" in trace(past, IDS[0])
    past.receive(IDS[1], after=15)
    assert "no listener ran" in trace(past, IDS[1])
    with past.ledger.write() as tables:
        tables.coverage.add_span(f"ready:{BUS}", past.start, past.start + 30, 0)
    assert "no listener ran" not in trace(past, IDS[1])


def test_trace_says_what_became_of_what_a_dead_listener_had_prefetched(
    past: Past, tmp_path: Path
) -> None:
    run_listener(past, (0, 10), (20, 110))
    past.receive(IDS[0], after=9)
    ended = f"at that time; it ended {format_time(past.start + 10)}, and what it had prefetched"
    text = traced(tmp_path, "temporary", IDS[0])
    assert text.endswith(f"{ended} was lost with its queue")
    text = traced(tmp_path, "permanent", IDS[0])
    assert text.endswith(f"{ended} went back to its queue")
    past.receive(IDS[1], after=30)
    assert traced(tmp_path, "temporary", IDS[1]).endswith("was reporting at that time")


def test_what_came_long_before_the_listener_died_was_not_waiting_in_it(
    past: Past, tmp_path: Path
) -> None:
    run_listener(past, (0, 100), (105, 110))
    past.receive(IDS[0], after=30)
    assert traced(tmp_path, "temporary", IDS[0]).endswith("was reporting at that time")
    past.receive(IDS[1], after=60)
    assert "was lost with its queue" in traced(tmp_path, "temporary", IDS[1])


def test_trace_says_what_a_message_did_that_killed_the_listener(past: Past, tmp_path: Path) -> None:
    series = Series(BUS, TOPIC, "error", "rule-raises")
    past.ledger.record([Observation(series, IDS[0], past.start)])
    past.report(IDS[0], "raised")
    assert "; the listener dies once; its" in traced(tmp_path, "temporary", IDS[0])
    assert "kills it after each start: a crash loop" in traced(tmp_path, "permanent", IDS[0])


def test_trace_says_if_busmon_did_not_receive_it(past: Past) -> None:
    past.report(IDS[0])
    text = trace(past, IDS[0])
    assert "\n  received  not by busmon, or so long ago that it is no longer on record\n" in text
    assert "judged" not in text
    assert "\n  worker    no event of the task is known\n" in text


def test_trace_says_where_a_message_was_missing(past: Past) -> None:
    past.watch(-100, 100)
    past.receive(IDS[0], after=1)
    past.close(40)
    assert "\n  audit     missing at the listener in the window that began 20" in trace(
        past, IDS[0]
    )
    again = f"\n  again     fedora-messaging reconsume {IDS[0]}\n"
    assert trace(past, IDS[0]).endswith(f"UTC, and not recovered{again}")
    past.report(IDS[0])
    past.windows.correct(past.start + 41)
    assert "UTC, recovered by 20" in trace(past, IDS[0])
    (found,) = json.loads(trace(past, IDS[0], "--json"))
    (recovered,) = found["audit"]
    assert recovered == {
        "stage": "listener",
        "start": past.start,
        "state": "recovered",
        "due": None,
        "ended_at": past.start + 41,
        "estimated": False,
    }


def test_trace_as_json_has_every_fact(past: Past) -> None:
    past.receive(IDS[0], after=1)
    past.report(IDS[0], "dropped")
    (found,) = json.loads(trace(past, IDS[0], "--json"))
    assert (found["bus"], found["topic"], found["outcome"]) == (BUS, TOPIC, "handled")
    assert (found["report"], found["task"]) == ("dropped", None)
    assert found["listener"]["tap_watched"] is False
    assert found["received_at"] - found["sent_at"] == pytest.approx(0.25)


def test_a_message_that_is_not_on_record_ends_with_1(past: Past) -> None:
    text = trace(past, IDS[0], status=1)
    assert text == f"{IDS[0]}: not on record; the ledger holds no message yet\n"
    past.receive(IDS[1], after=1)
    text = trace(past, IDS[0], status=1)
    assert text.startswith(f"{IDS[0]}: not on record; the ledger holds messages since 20")
    assert trace(past, IDS[0], "--json", status=1) == "[]\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [(["1", "--ledger", "README.md"], "busmon: README.md: "), ([], "Missing argument 'ID'.\n")],
)
def test_what_cannot_be_read_ends_with_2(words: list[str], error: str) -> None:
    assert error in busmon("trace", *words, status=2).stderr
