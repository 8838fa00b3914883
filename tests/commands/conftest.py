"""A ledger with a past."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.past import Past


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    past = Past(tmp_path)
    with closing(past.ledger):
        yield past
