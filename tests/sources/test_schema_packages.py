"""Which schemas are installed, and what that says about a message."""

from typing import Any

import pytest

from busmon.sources import schema_packages


@pytest.mark.parametrize(
    ("headers", "unknown"),
    [
        (None, False),
        ({}, False),
        ({"fedora_messaging_schema": "base.message"}, False),
        ({"fedora_messaging_schema": "copr.build.end"}, False),
        ({"fedora_messaging_schema": "koji_fedoramessaging.tag.TagV1"}, True),
        ({"fedora_messaging_schema": ""}, True),
        ({"fedora_messaging_schema": None}, False),  # names none; such headers are invalid
        ({"fedora_messaging_schema": ["copr.build.end"]}, False),
    ],
)
def test_a_schema_is_unknown_if_it_is_named_but_not_installed(
    headers: dict[str, Any] | None, unknown: bool
) -> None:
    assert schema_packages.is_unknown(headers) == unknown
