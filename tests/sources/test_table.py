"""The table of sources."""

import subprocess
import sys
from typing import get_args

import pytest

from busmon.sources.table import SOURCES

CLIENT_LIBRARIES = {"fedora_messaging", "pika", "twisted", "paho", "stomp"}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_is_found_by_the_type_of_its_bus(kind: str) -> None:
    assert get_args(SOURCES[kind].model_fields["type"].annotation) == (kind,)


def test_the_table_of_sources_loads_no_client_library() -> None:
    script = "import sys, busmon.sources.table; print(*{n.split('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert set(done.stdout.decode().split()) & CLIENT_LIBRARIES == set()
