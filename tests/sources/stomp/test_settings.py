"""Which settings can work, and what is asked of a broker for them."""

from typing import Any

import pytest
from pydantic import ValidationError

from busmon.sources.stomp.session import subscription_headers
from tests.support.stomp import bus


def test_only_topics_are_made_durable_and_only_for_a_client_with_a_name() -> None:
    nameless = subscription_headers(bus(1), "/topic/a")
    assert nameless == {
        "destination": "/topic/a",
        "receipt": "/topic/a",
        "ack": "client",
        "activemq.prefetchSize": "1000",
        "prefetch-count": "1000",
    }
    named = bus(1, client_id="me")
    assert subscription_headers(named, "/topic/a") == nameless | {
        "activemq.subscriptionName": "me:/topic/a",
        "durable": "true",
        "auto-delete": "false",
        "x-queue-name": "me:/topic/a",
    }
    assert "durable" not in subscription_headers(named, "/queue/a")


@pytest.mark.parametrize(
    ("settings", "place", "text"),
    [
        ({"brokers": ["localhost"]}, "brokers.0", "should be host:port"),
        ({"brokers": []}, "brokers", "at least 1 item"),
        ({"destinations": ["a.b"]}, "destinations.0", "should be /topic/NAME, /queue/NAME"),
        ({"destinations": ["/queue/a", "/queue/a"]}, "destinations", "should all be different"),
        ({"login": "me"}, "login", "needs passcode too"),
        ({"passcode": "secret"}, "passcode", "needs login too"),
        ({"ca": __file__}, "ca", "needs tls = true"),
        ({"topic_pattern": "("}, "topic_pattern", "should be a regular expression: missing"),
        ({"topic_pattern": "a"}, "topic_pattern", "exactly one group, which is the topic, not 0"),
        ({"topic_pattern": "(a)(b)"}, "topic_pattern", "exactly one group"),
        ({"heartbeat": 0}, "heartbeat", "greater than 0"),
        ({"client_id": ""}, "client_id", "at least 1 character"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    settings: dict[str, Any], place: str, text: str
) -> None:
    with pytest.raises(ValidationError) as error:
        bus(1, **settings)
    (problem,) = error.value.errors()
    assert ".".join(map(str, problem["loc"])) == place
    assert text in problem["msg"]
    assert "secret" not in str(error.value)


def test_a_broker_may_be_an_ipv6_address() -> None:
    assert bus(1, brokers=["[::1]:61613"]).brokers == ("[::1]:61613",)
