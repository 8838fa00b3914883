"""Which filters of topics overlap."""

import pytest
from pydantic import ValidationError

from busmon.sources.filters import any_matches, check_overlap
from busmon.sources.mqtt.settings import MqttBus
from busmon.sources.stomp.settings import StompBus

PAIRS = [
    ("a/b", "a/b", True),
    ("a/b", "a/c", False),
    ("a/b", "a/b/c", False),
    ("a/#", "a/b", True),
    ("a/#", "a/b/c", True),
    ("a/#", "a", True),
    ("a/#", "b/#", False),
    ("#", "a/b", True),
    ("a/+", "a/b", True),
    ("a/+", "a/b/c", False),
    ("a/+/c", "a/b/+", True),
    ("a/+/c", "a/b/d", False),
    ("+/b", "a/#", True),
    ("a/#/d", "a/b/c/d", True),
    ("a/#/d", "a/b/c", False),
    ("a/#/d", "a/+/#/d", True),
    ("ab", "a", False),
]


@pytest.mark.parametrize(("one", "other", "expected"), PAIRS)
def test_filters_overlap_if_a_topic_matches_both(one: str, other: str, expected: bool) -> None:
    def overlap(*filters: str) -> bool:
        try:
            check_overlap(filters, "/")
        except ValueError:
            return True
        return False

    assert overlap(one, other) == overlap(other, one) == expected


def test_overlapping_topics_of_mqtt_are_refused() -> None:
    settings = {"type": "mqtt", "rules": "all", "url": "mqtt://b", "client_id": "c"}
    MqttBus.model_validate(settings | {"topics": ["a/#", "b/#"]})
    with pytest.raises(ValidationError) as refused:
        MqttBus.model_validate(settings | {"topics": ["a/#", "b", "a/b"]})
    (error,) = refused.value.errors()
    assert error["loc"] == ("topics",)
    assert "a/# and a/b overlap: the broker may send a message twice" in error["msg"]


@pytest.mark.parametrize(
    ("destinations", "refused"),
    [
        (["/topic/a.*", "/topic/a.b"], True),
        (["/topic/a.>", "/topic/a.b.c"], True),
        (["/exchange/e/a.#", "/exchange/e/a.b"], True),
        (["/topic/a.*", "/queue/a.b"], False),
        (["/exchange/e/a.#", "/exchange/f/a.b"], False),
        (["/queue/a.*", "/queue/a.b"], False),  # each message goes to one of them
    ],
)
def test_overlapping_destinations_of_stomp_are_refused(
    destinations: list[str], refused: bool
) -> None:
    settings = {"type": "stomp", "rules": "all", "brokers": ["b:1"]}
    if not refused:
        StompBus.model_validate(settings | {"destinations": destinations})
        return
    with pytest.raises(ValidationError, match="overlap: the broker may send a message twice"):
        StompBus.model_validate(settings | {"destinations": destinations})


@pytest.mark.parametrize(
    ("filters", "topic", "expected"),
    [
        ({"a/b"}, "a/b", True),
        ({"a/b"}, "a/c", False),
        ({"x", "a/+"}, "a/b", True),
        ({"a/+"}, "a", False),
        ({"a/+"}, "a/b/c", False),
        ({"a/#"}, "a", True),
        ({"a/#"}, "a/b/c", True),
        ({"#"}, "a/b", True),
        ({"a/*"}, "a/b", False),
        ({"a.b/+"}, "a.b/c", True),
    ],
)
def test_a_bus_of_mqtt_knows_to_which_topics_it_subscribes(
    filters: set[str], topic: str, expected: bool
) -> None:
    assert any_matches(filters, topic, "/", "+") == expected
    bus = MqttBus(type="mqtt", rules="all", url="mqtt://b", topics=tuple(filters), client_id="me")
    assert bus.subscription()(topic) == expected
