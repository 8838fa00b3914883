"""A place of one test's own at the broker."""

from uuid import uuid4

import pytest


@pytest.fixture
def root() -> str:
    """The first level of this test's topics, and the client's id."""
    return f"bus-{uuid4().hex[:8]}"
