"""One busmon for all attacks of a module."""

from collections.abc import Iterator

import pytest

from tests.faults.attack import TOKEN, attacked
from tests.support.busmon_process import Busmon


@pytest.fixture(scope="module")
def attacked_busmon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busmon]:
    with attacked(tmp_path_factory.mktemp("attacked"), token=TOKEN) as busmon:
        yield busmon
