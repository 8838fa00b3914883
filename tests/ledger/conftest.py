"""A ledger of one test, in each engine; and the path of one in a file."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from busmon.ledger.engines import LedgerPlace
from busmon.ledger.ledger import Ledger
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import database_at


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a test has a ledger that is about files."""
    return str(tmp_path / "ledger.sqlite")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, path: str) -> LedgerPlace:
    """Where a test has its ledger, which is empty."""
    if request.param == "sqlite":
        return path
    server: LedgerServer = request.getfixturevalue("ledger_server")
    return database_at(server.url_of(server.cleared()))


@pytest.fixture
def ledger(place: LedgerPlace) -> Iterator[Ledger]:
    with closing(Ledger(place)) as opened:
        yield opened
