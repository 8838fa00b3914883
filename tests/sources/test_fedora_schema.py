"""Schemas are checked as get_message() checks them, but with bounded work."""

from typing import Any, ClassVar

import jsonschema
import pytest
from fedora_messaging.message import Message
from hypothesis import given
from hypothesis import strategies as st

from busmon.sources.codec import TooCostly
from busmon.sources.fedora_schema import FedoraSchema, schema_of
from tests.support.cpu import cpu_time_at_most
from tests.support.fedora_strategies import json_values

MAX_CPU_SECONDS = 0.5


class Lists(Message):
    """Schemas as packages have them, with work for each item."""

    body_schema: ClassVar = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "definitions": {"user": {"type": "object", "required": ["name"]}},
        "properties": {
            "texts": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            "users": {"type": "array", "items": {"$ref": "#/definitions/user"}},
            "distinct": {"type": "array", "uniqueItems": True},
            "often": {"allOf": [{"patternProperties": {"^x-": {}}}] * 50},
            "choices": {"items": {"anyOf": [{"type": "null"}, {"enum": ["a", "b"]}]}},
        },
        "additionalProperties": {"maxLength": 5},
        "patternProperties": {"^x-": {"minimum": 0}},
    }


LISTS = FedoraSchema(Lists)


COSTLY = {
    "errors of many items": {"texts": [0] * 200_000},
    "equal lists": {"texts": [[]] * 100_000},
    "errors behind a reference": {"users": [{}] * 60_000},
    "objects that differ": {"distinct": [{"a": number} for number in range(50_000)]},
    "fewer objects that differ": {"distinct": [{"a": number} for number in range(4_000)]},
    "lists that differ": {"distinct": [[number] for number in range(50_000)]},
    "mixed items": {"distinct": [0, "a"] * 50_000},
    "no choice fits": {"choices": ["c"] * 100_000},
    "keys that are often looked at": {"often": {str(number): 0 for number in range(90_000)}},
    "additional keys": {str(number): "too long" for number in range(90_000)},
    "keys by pattern": {f"x-{number}": -1 for number in range(90_000)},
}


@pytest.mark.parametrize("body", COSTLY.values(), ids=COSTLY)
def test_a_body_with_too_much_work_for_its_schema_is_too_costly(body: Any) -> None:
    with cpu_time_at_most(MAX_CPU_SECONDS), pytest.raises(TooCostly):
        LISTS.accepts_body(body)


@pytest.mark.parametrize(
    ("body", "accepted"),
    [
        ({"texts": [str(number) for number in range(5_000)]}, True),
        ({"texts": [str(number) for number in range(5_000)] + ["1"]}, False),
        ({"users": [{"name": "alice"}] * 5_000}, True),
        ({"distinct": [{"a": number} for number in range(300)]}, True),
        ({"distinct": [{"a": number % 299} for number in range(300)]}, False),
    ],
)
def test_a_body_as_large_as_honest_ones_is_checked(body: Any, accepted: bool) -> None:
    with cpu_time_at_most(MAX_CPU_SECONDS):
        assert LISTS.accepts_body(body) == accepted


bodies = json_values | st.dictionaries(
    st.sampled_from([*Lists.body_schema["properties"], "x-a", "b"]), json_values
)


@given(bodies)
def test_a_small_body_is_checked_as_jsonschema_checks_it(body: Any) -> None:
    try:
        jsonschema.validate(body, Lists.body_schema)
        jsonschema.validate(body, Message.body_schema)
        expected = True
    except jsonschema.ValidationError:
        expected = False
    assert LISTS.accepts_body(body) == expected


def test_the_schemas_of_a_class_are_prepared_once() -> None:
    assert schema_of(Lists) is schema_of(Lists)


def test_a_body_that_is_no_object_is_not_written_into_an_error() -> None:
    deep: Any = 0
    for _ in range(900):
        deep = [deep]
    with cpu_time_at_most(0.1):
        assert not FedoraSchema(Message).accepts_body([deep] * 1000)
