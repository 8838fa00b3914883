"""`busmon trace`: what it prints of a message."""

import json

import pytest

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


def test_trace_says_if_the_tap_was_watching(past: Past) -> None:
    past.receive(IDS[0], after=1, handled=False)
    assert "  judged    ignored releng\n" in trace(past, IDS[0])
    assert "  listener  no report; no tap was reporting at that time\n" in trace(past, IDS[0])
    past.watch(-100, 100)
    assert "  listener  no report, although its tap was reporting at" in trace(past, IDS[0])


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
    past.report(IDS[0])
    past.windows.correct(past.start + 41)
    assert ", recovered by 20" in trace(past, IDS[0])
    (found,) = json.loads(trace(past, IDS[0], "--json"))
    (missing,) = found["missing"]
    assert missing == {
        "stage": "listener",
        "window": past.start,
        "recovered_at": past.start + 41,
    }


def test_trace_as_json_has_every_fact(past: Past) -> None:
    past.receive(IDS[0], after=1)
    past.report(IDS[0], "dropped")
    (found,) = json.loads(trace(past, IDS[0], "--json"))
    assert (found["bus"], found["topic"], found["outcome"]) == (BUS, TOPIC, "handled")
    assert (found["report"], found["task"], found["tap_watched"]) == ("dropped", None, False)
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
