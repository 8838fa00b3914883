"""All that has metrics, without a broker."""

from collections.abc import Iterator

import pytest

from tests.support.metrics import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(":memory:")
    yield bench
    bench.ledger.close()
