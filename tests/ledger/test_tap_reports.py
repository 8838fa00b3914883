"""Reports of the tap: many at once, and messages that are reported more than once."""

from random import Random

from busmon.ledger.ledger import Ledger
from busmon.ledger.tap_reports import TapReport
from tests.support.ledgers import NOW

BUS = "fedora"
STATES = ("passed", "passed", "dropped", "raised")
TASKS = {"a": "succeeded", "b": "failed", "c": "failed", "d": None}  # None: no worker had it
MESSAGES = "12"
CASES = range(25)


def reports(case: int, prefix: str) -> list[TapReport]:
    """Return reports of some messages, in whose ids and tasks only the prefix can differ."""
    random, found = Random(case), []
    for at in range(8):
        message, state = f"{prefix}-{case}-{random.choice(MESSAGES)}", random.choice(STATES)
        task = f"{message}-{random.choice([*TASKS])}" if random.random() < 0.9 else None
        task = task if state == "passed" else None
        found.append(TapReport(message, "t", state, task, NOW + at))
    return found


def tasks_of(prefix: str) -> dict[str, str | None]:
    """Return all tasks of the reports with this prefix, and what became of them."""
    messages = [f"{prefix}-{case}-{message}" for case in CASES for message in MESSAGES]
    return {f"{of}-{task}": state for of in messages for task, state in TASKS.items()}


def stored(ledger: Ledger, prefix: str) -> tuple[list[str], list[str]]:
    """Return what is on record, without the prefix: the reports, and the message of each task."""
    with ledger.read() as tables:
        rows = [str(row) for row in sorted(tables.tap_reports.of(BUS)) if row.id.startswith(prefix)]
        messages = [str(tables.tap_reports.message_of(task)) for task in tasks_of(prefix)]
    return [row.replace(prefix, "") for row in rows], [one.replace(prefix, "") for one in messages]


def test_reports_written_at_once_end_as_those_written_one_by_one(ledger: Ledger) -> None:
    with ledger.write() as tables:
        for task, state in (tasks_of("batch") | tasks_of("single")).items():
            if state:
                tables.tasks.receive(task, "task", NOW)
                tables.tasks.change(task, state, NOW)
        for case in CASES:
            tables.tap_reports.add(BUS, reports(case, "batch"), NOW)
            for report in reports(case, "single"):
                tables.tap_reports.add(BUS, [report], NOW)
    assert stored(ledger, "batch") == stored(ledger, "single")
