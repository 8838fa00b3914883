"""What tests of the tap in a real listener share."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from busmon.ledger.engines import open_read_only
from tests.support.busmon_process import Busmon
from tests.support.constants import set_constants
from tests.support.consumerino import task_id
from tests.support.tap_reports import LATE, TOKEN


def reports(directory: Path) -> dict[str, tuple[str, str | None]]:
    """Return state and task by message id, as busmon's ledger has them."""
    with open_read_only(str(directory / "ledger.sqlite")) as tables:
        return {known.id: (known.state, known.task) for known in tables.tap_reports.of("fedora")}


def expected_reports(ids: Sequence[str], what: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Return what the tap should report of messages to which this was done."""
    states = {"pass": "passed", "drop": "dropped", "Nack": "dropped"}  # of a Nack the second try
    return {
        identity: (states.get(do, "raised"), task_id(identity) if do == "pass" else None)
        for identity, do in zip(ids, what, strict=True)
    }


def reports_url(busmon: Busmon) -> str:
    return f"{busmon.url}/v1/reports"


@pytest.fixture
def busmon(tmp_path: Path) -> Iterator[Busmon]:
    """busmon with a bus of nothing, ready to take reports."""
    (tmp_path / "none.jsonl").touch()
    bus = {"type": "replay", "rules": "packit", "files": [str(tmp_path / "none.jsonl")]}
    busmon = Busmon(tmp_path, {"fedora": bus})
    busmon.configure(f'[audit.reports]\nbus = "fedora"\ntoken = "{TOKEN}"')
    set_constants(busmon, LATE)
    yield busmon
    if busmon.running:
        busmon.kill()
