"""Benches for the tests of the audit."""

from collections.abc import Iterator

import pytest

from tests.support.audit import NOW, AuditBench


@pytest.fixture
def unwatched() -> Iterator[AuditBench]:
    """A bench on which no observer watches yet."""
    bench = AuditBench()
    yield bench
    bench.ledger.close()


@pytest.fixture
def bench(unwatched: AuditBench) -> AuditBench:
    """A bench on which all observers watch all the time."""
    for kind in ("tap", "celery"):
        unwatched.watch(kind, NOW - 100, NOW + 100_000)
    return unwatched
