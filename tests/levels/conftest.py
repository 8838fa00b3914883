"""Fixtures of the tests of delays and service levels."""

from collections.abc import Iterator

import pytest

from tests.support.levels import LevelsBench


@pytest.fixture
def bench() -> Iterator[LevelsBench]:
    made = LevelsBench()
    yield made
    made.ledger.close()
