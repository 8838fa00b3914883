"""busmon's receiving side of the tap, without a socket."""

from collections.abc import Iterator

import pytest

from tests.support.tap_reports import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.ledger.close()
