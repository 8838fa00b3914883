"""Any input, from the bytes of a library to /metrics: no crash, and one series for each message."""

from collections.abc import Sequence
from contextlib import closing

import pika
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from busmon.ledger.ledger import Ledger
from busmon.message import Message
from busmon.metrics.collector import Metrics, make_registry
from busmon.pipeline import OTHER, Pipeline
from busmon.rules import Rules, rule_set
from busmon.sources import fedora_message, json_body
from busmon.sources.amqp import source as amqp_source
from busmon.sources.amqp.frames import Delivery
from busmon.sources.base import ConnectionState
from busmon.sources.mqtt import source as mqtt_source
from busmon.sources.mqtt.packets import (
    Publish,
)
from busmon.sources.stomp import source as stomp_source
from busmon.sources.stomp.frames import Frame
from busmon.sources.stomp.settings import StompBus
from tests.support.cpu import cpu_time_at_most
from tests.support.fedora_strategies import bodies, encodings, headers
from tests.support.sources import count

PACKIT = rule_set("packit", Rules())
TOPICS = [topic for topic, _ in PACKIT.known_series()]
ROOM = 2  # unknown topics
short = st.text(max_size=20) | st.binary(max_size=255) | st.sampled_from(["", "a" * 255, "\0"])
topics = st.sampled_from(TOPICS) | short
moments = st.floats(0, 2e9)


@st.composite
def by_amqp(draw: st.DrawFn) -> Message:
    properties = pika.BasicProperties(
        headers=draw(headers),
        content_encoding=draw(encodings),
        message_id=draw(st.none() | short),
    )
    body, topic = draw(bodies), draw(topics)
    key = topic.encode(errors="surrogatepass") if isinstance(topic, str) else topic
    delivery = Delivery(1, draw(st.booleans()), key, properties, body, len(body))
    return amqp_source.to_message("bus", delivery, draw(moments))


@st.composite
def by_mqtt(draw: st.DrawFn) -> Message:
    topic = draw(st.binary(max_size=300) | st.sampled_from(TOPICS).map(str.encode))
    payload = draw(bodies)
    mid, qos = draw(st.integers(0, 65535)), draw(st.integers(0, 1))
    packet = Publish(topic, payload, len(payload), mid, qos)._replace(
        dup=draw(st.booleans()), retain=draw(st.booleans())
    )
    return mqtt_source.to_message("bus", packet, draw(moments))


STOMP = StompBus(type="stomp", rules="packit", brokers=("broker:1",), destinations=("/topic/a",))
HEADERS = ["destination", "original-destination", "message-id", "timestamp", "redelivered"]
values = st.text(max_size=300) | st.sampled_from(["true", "9" * 5000, "/topic/a", *TOPICS])


@st.composite
def by_stomp(draw: st.DrawFn) -> Message:
    said = draw(st.dictionaries(st.sampled_from(HEADERS), values))
    body = draw(bodies)
    frame = Frame("MESSAGE", {"subscription": "/topic/a"} | said, body, len(body))
    server = draw(st.sampled_from(["ActiveMQ/5", "RabbitMQ/3", ""]))
    return stomp_source.message_of(frame, "bus", STOMP, server=server, received_at=draw(moments))


SOURCES = (fedora_message.REJECTIONS, json_body.REJECTIONS)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(st.lists(by_amqp() | by_mqtt() | by_stomp(), min_size=1, max_size=6), max_size=4))
def test_every_message_is_in_exactly_one_series_and_none_takes_a_second(
    batches: Sequence[Sequence[Message]],
) -> None:
    with closing(Ledger(":memory:")) as ledger:
        metrics = Metrics(ledger, {"bus": ConnectionState()}, "1")
        rejections = {"bus": [judgement for source in SOURCES for judgement in source]}
        pipeline = Pipeline(ledger, {"bus": PACKIT}, rejections, ROOM, metrics.observe)
        for batch in batches:
            with cpu_time_at_most(1):
                count(pipeline, batch)
        exposed = generate_latest(make_registry(metrics)).decode()
        duplicates = ledger.duplicates().total()
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposed)
        for sample in family.samples
    }
    counted = {series: n for series, n in samples.items() if series[0] == "busmon_messages_total"}
    assert sum(counted.values()) + duplicates == sum(map(len, batches))
    topics = {value for _, *labels in counted for name, value in labels if name == "topic"}
    assert len(topics - {OTHER, *TOPICS}) <= ROOM


def test_a_hundred_thousand_topics_are_as_many_series_as_are_allowed() -> None:
    with closing(Ledger(":memory:")) as ledger:
        pipeline = Pipeline(
            ledger, {"bus": rule_set("all", Rules())}, {"bus": []}, 200, lambda _: None
        )
        for start in range(0, 100_000, 500):
            count(
                pipeline,
                [
                    Message(bus="bus", id=str(n), topic=f"topic.{n}", received_at=1.0)
                    for n in range(start, start + 500)
                ],
            )
        counts = ledger.counts()
    assert len(counts) == 201
    assert sum(count.messages for count in counts.values()) == 100_000
