"""What workers did is written for each event, so no statement may go through a whole table."""

import pytest

from busmon.ledger import tasks
from busmon.ledger.ledger import Ledger
from tests.ledger.sql import foreign


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("statement", [tasks.SENT, tasks.RECEIVED, tasks.CHANGED, tasks.BETTER])
def test_an_event_of_a_task_is_written_without_a_scan(statement: str, ledger: Ledger) -> None:
    values = dict.fromkeys(("id", "name", "state", "root", "parent", "at"), "x")
    with foreign(ledger.name) as db:
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert [step for step in plan if step.startswith("SCAN")] == []
