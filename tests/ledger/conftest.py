"""A ledger of one test, and its path."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from busmon.ledger.ledger import Ledger


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ledger.sqlite")


@pytest.fixture
def ledger(path: str) -> Iterator[Ledger]:
    with closing(Ledger(path)) as opened:
        yield opened
