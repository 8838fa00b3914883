"""No message costs more CPU time and memory than a small pod has.

Measured in a process of its own, by CPU time and peak memory. The bodies are the largest of
their shape that busmon reads; larger ones are too costly, and are not read.
"""

from typing import Any

import pika
import pytest

from busmon.sources.codec import MAX_QUADRATIC_BYTES
from busmon.sources.json_body import MAX_BODY_BYTES
from tests.hostile.bodies import SHAPES, largest
from tests.hostile.cost import Cost, amqp_message, measure, mqtt_message, stomp_message

MIB = 1024**2
HUGE = 60 * MIB
COPR = {"fedora_messaging_schema": "copr.build.start"}


def properties(encoding: str = "utf-8", **headers: Any) -> pika.BasicProperties:
    return pika.BasicProperties(content_encoding=encoding, headers=headers)


def assert_cheap(cost: Cost, mebibytes: int = 24) -> None:
    assert cost.seconds < 0.5
    assert cost.bytes < mebibytes * MIB


@pytest.mark.parametrize("shape", SHAPES)
def test_a_body_of_any_shape_costs_little(shape: str) -> None:
    """With a schema that is installed, which takes longest."""
    assert_cheap(measure("amqp", amqp_message(largest(SHAPES[shape]), properties(**COPR))))


def test_a_body_that_could_cost_more_is_not_read() -> None:
    body = b"[" + b",".join([b'{"":0}'] * 290_000) + b',"\xf0\x9f\x98\x80"]'
    for cost in (
        measure("amqp", amqp_message(body, properties())),
        measure("mqtt", mqtt_message(body)),
        measure("stomp", stomp_message(body)),
    ):
        assert_cheap(cost)
        assert cost.reasons == ["too-costly"]


@pytest.mark.parametrize("encoding", ["punycode", "idna", "IDNA", "utf-16"])
@pytest.mark.parametrize("body", [b"-" + b"9" * 400_000, b"xn--b." * 340_000])
def test_a_codec_that_a_publisher_names_costs_little(encoding: str, body: bytes) -> None:
    assert_cheap(measure("amqp", amqp_message(body, properties(encoding))))


@pytest.mark.parametrize("encoding", ["punycode", "idna"])
def test_a_quadratic_codec_is_too_costly_above_a_size(encoding: str) -> None:
    sizes = MAX_QUADRATIC_BYTES, MAX_QUADRATIC_BYTES + 1
    stream = b"".join(amqp_message(b"-" * size, properties(encoding)) for size in sizes)
    below, above = measure("amqp", stream).reasons
    assert (below == "too-costly", above) == (False, "too-costly")


HALF_PAIRS = {  # each is decoded by a function that Python calls for it
    "utf-8": b'{"a":"' + b"\xed\xa0\x80" * (MAX_BODY_BYTES // 3 - 3) + b'"}',
    "utf-16": b'{\0"\0' + b"\x00\xd8" * (MAX_BODY_BYTES // 2 - 8) + '":0}'.encode("utf-16-le"),
    "utf-32": b"\xff\xfe\0\0" + b"\x00\xd8\0\0" * (MAX_BODY_BYTES // 4 - 1),
}


@pytest.mark.parametrize("encoding", HALF_PAIRS)
def test_halves_of_pairs_cost_little(encoding: str) -> None:
    cost = measure("mqtt", mqtt_message(HALF_PAIRS[encoding]))
    assert_cheap(cost)
    assert cost.reasons == ["not-json" if encoding == "utf-32" else ""]


NESTED: dict[str, object] = {}
for _ in range(300):
    NESTED = {"a": NESTED}
HEADERS: list[dict[str, object]] = [
    {"fedora_messaging_severity": NESTED},
    {"sent-at": [["x"] * 100] * 200},
    {str(number): number for number in range(10_000)},
    {"fedora_messaging_schema": "x" * 100_000},
]


@pytest.mark.parametrize("headers", HEADERS)
def test_headers_cost_little(headers: dict[str, Any]) -> None:
    assert_cheap(measure("amqp", amqp_message(b"{}", properties(**headers))), mebibytes=8)


def test_names_that_publishers_invent_cost_nothing_that_stays() -> None:
    """1,200 names of schemas, of 125 kB each, and as many of codecs."""
    messages = [
        amqp_message(b"{}", properties(f"no-{n}", fedora_messaging_schema=f"{n:0125000}"))
        for n in range(1200)
    ]
    cost = measure("amqp", b"".join(messages))
    assert cost.bytes < 8 * MIB
    assert set(cost.reasons) == {"kills-consumer"}


def test_user_properties_cost_little() -> None:
    """paho takes more than a minute for 2 MB of them."""
    pair = b"\x26\0\0\0\0"
    cost = measure("mqtt", mqtt_message(b"{}", pair * (HUGE // len(pair))))
    assert_cheap(cost, mebibytes=4)
    assert cost.reasons == [""]


@pytest.mark.parametrize("protocol", ["amqp", "mqtt", "stomp"])
def test_a_body_of_60_mb_is_never_in_memory(protocol: str) -> None:
    body = b'{"a":"' + b"x" * HUGE + b'"}'
    stream = {
        "amqp": lambda: amqp_message(body, properties()),
        "mqtt": lambda: mqtt_message(body),
        "stomp": lambda: stomp_message(body),
    }[protocol]()
    cost = measure(protocol, stream)
    assert_cheap(cost, mebibytes=4 * MAX_BODY_BYTES // MIB)
    assert cost.reasons == ["too-large"]


def test_headers_of_stomp_cost_little() -> None:
    headers = "".join(f"{n}:\\c\n" for n in range(100_000))
    assert_cheap(measure("stomp", stomp_message(b"{}", headers)))
