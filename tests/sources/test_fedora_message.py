"""What fedora-messaging's get_message() refuses, busmon's decoder refuses, and nothing else."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import fedora_messaging.message
import pika
import pytest
from fedora_messaging.exceptions import ValidationError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from busmon.message import Judgement, Outcome
from busmon.sources import fedora_message
from busmon.sources.json_body import load_json
from tests.support.fedora_strategies import COPR, bodies, encodings, headers, json_values


class Broken(fedora_messaging.message.Message):
    body_schema: ClassVar = {"type": "no such type"}


class Dynamic(fedora_messaging.message.Message):
    @property
    def body_schema(self) -> dict[str, Any]:  # type: ignore[override] # as some schemas do
        return {"type": "object", "required": ["build"]}


class OwnValidation(fedora_messaging.message.Message):
    def validate(self) -> None:
        if "build" not in self.body:
            raise KeyError("build")
        super().validate()


class OwnInit(fedora_messaging.message.Message):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.build = self.body["build"]


@pytest.fixture(autouse=True, scope="module")
def schemas() -> Iterator[None]:
    """Install, as a schema package would, message classes that misbehave in every way."""
    fedora_messaging.message.load_message_classes()
    own = {"broken": Broken, "dynamic": Dynamic, "own": OwnValidation, "init": OwnInit}
    registry = fedora_messaging.message._schema_name_to_class  # noqa: SLF001 - entry points' place
    registry.update({f"tests.{name}": schema for name, schema in own.items()})
    yield
    for name in own:
        del registry[f"tests.{name}"]


def oracle(
    topic: str, header: Any, encoding: str | None, body: bytes
) -> tuple[Outcome | None, object]:
    properties = pika.BasicProperties(headers=copy.deepcopy(header), content_encoding=encoding)
    try:
        message = fedora_messaging.message.get_message(topic, properties, body)
    except ValidationError:
        return Outcome.INVALID, None
    except Exception:  # noqa: BLE001 - the oracle's other half
        return Outcome.ERROR, None
    return None, message.body


@settings(max_examples=600)
@given(headers, encodings, bodies)
@example({"fedora_messaging_schema": []}, "utf-8", b"{}")
@example({"fedora_messaging_schema": "copr.build.start"}, "utf-8", json.dumps(COPR).encode())
@example({"fedora_messaging_schema": "copr.build.start"}, "utf-8", b'{"build": "x"}')
@example({"fedora_messaging_schema": "tests.broken"}, "utf-8", b"{}")
@example({"fedora_messaging_schema": "tests.broken", "fedora_messaging_severity": 5}, None, b"{}")
@example({"fedora_messaging_schema": "tests.dynamic"}, "utf-8", b"{}")
@example({"fedora_messaging_schema": "tests.own"}, "utf-8", b"{}")
@example({"fedora_messaging_schema": "tests.init"}, "utf-8", b'{"build": 1}')
def test_refuses_exactly_what_get_message_refuses(
    header: Any, encoding: str | None, body: bytes
) -> None:
    outcome, wanted = oracle("a.topic", header, encoding, body)
    parsed, verdict = fedora_message.decode("a.topic", header, encoding, body)
    assert (verdict and verdict.outcome) == outcome
    assert repr(parsed) == repr(wanted)  # repr: NaN is not equal to itself
    assert verdict is None or verdict in fedora_message.REJECTIONS


fragments = st.sampled_from(
    [*'[]{}:,"-+.eE0123456789 \t\n', "null", "true", "NaN", "-Infinity", '"a"', '"\\ud800"',
     "\\u0000", "\0", "\ud800", "\ufeff", "\xa0", "é", "1e400", "18446744073709551616", "9" * 5000,
     "[" * 600, "]" * 600]
)  # fmt: skip
json_like = json_values.map(json.dumps) | st.lists(fragments, max_size=12).map("".join)


@settings(max_examples=1000)
@given(json_like)
def test_json_is_read_as_the_standard_library_reads_it(text: str) -> None:
    def read(load: Callable[[str], object]) -> object:
        try:
            return repr(load(text))  # NaN, -0.0, 1 and 1.0 all differ
        except (ValueError, RecursionError) as error:
            return type(error)

    assert read(load_json) == read(json.loads)


def invalid(reason: str) -> Judgement:
    return Judgement(Outcome.INVALID, reason)


@pytest.mark.parametrize(
    ("header", "encoding", "body", "verdict"),
    [
        ({}, "utf-8", b"\xff", invalid("not-utf8")),
        ({}, "utf-8", b"{", invalid("not-json")),
        ({}, "utf-8", b"", invalid("not-json")),
        ({}, "utf-8", b"[1]", invalid("not-object")),
        ({}, "utf-8", b"[]", None),
        ({}, "utf-8", b"null", None),
        ({}, "utf-8", b'{"a": NaN}', None),
        ({"fedora_messaging_schema": "copr.build.start"}, "utf-8", b"{}", invalid("schema")),
        ({"fedora_messaging_schema": "copr.build.start"}, "utf-8", b"[1]", invalid("not-object")),
        ({"fedora_messaging_severity": 15}, "utf-8", b"{}", invalid("headers")),
        ({"fedora_messaging_schema": 5}, "utf-8", b"{}", invalid("headers")),
        ({"fedora_messaging_schema": {}}, "utf-8", b"{}", fedora_message.KILLS_CONSUMER),
        ({}, "no-such-encoding", b"{}", fedora_message.KILLS_CONSUMER),
        ({}, "utf-8", b"[" * 100_000, fedora_message.KILLS_CONSUMER),
        (None, None, b"{}", None),
    ],
)
def test_each_refusal_has_its_reason(
    header: Any, encoding: str | None, body: bytes, verdict: Judgement | None
) -> None:
    assert fedora_message.decode("a.topic", header, encoding, body)[1] == verdict


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ({}, None),
        ({"sent-at": "2026-01-05T08:00:00+00:00"}, 1767600000.0),
        ({"sent-at": "2026-01-05T09:00:00+01:00"}, 1767600000.0),
        ({"sent-at": "2026-01-05T08:00:00"}, 1767600000.0),
        ({"sent-at": "yesterday"}, None),
        ({"sent-at": 5}, None),
        ({"sent-at": None}, None),
    ],
)
def test_sent_at_is_read_from_its_header(header: Any, seconds: float | None) -> None:
    assert fedora_message.sent_at(header) == seconds
