"""One message has one identity, in busmon and in the tap, whatever its publisher calls it."""

import json
import time
from pathlib import Path

import pika
from fedora_messaging.message import Message
from hypothesis import example, given
from hypothesis import strategies as st

from busmon.ledger.batch import Observation, Series
from busmon.ledger.engines import open_read_only
from busmon.sources.amqp.frames import Delivery
from busmon.sources.amqp.source import to_message
from busmon.tap.busmon_tap import Reports, tapped
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.busmon_process import Busmon
from tests.support.tap_reports import NOW, TOKEN, Bench, batch
from tests.support.tapped_listener import TappedListener

NOT_UTF8 = b"\xff\xfe" * 127
short_strings = st.binary(min_size=1, max_size=255)


@given(short_strings, short_strings)
@example(NOT_UTF8, b"a.topic")
@example(b"an id", NOT_UTF8)
@example(b"x" * 255, b"y" * 255)
@example("é".encode() * 127, b"")
def test_the_tap_reports_the_message_that_busmon_received(message_id: bytes, topic: bytes) -> None:
    properties = pika.BasicProperties(message_id=message_id)
    received, listened = pika.BasicProperties(), pika.BasicProperties()
    for one in (received, listened):
        one.decode(b"".join(properties.encode()))
    bench, reports = Bench(), Reports({"url": "http://busmon", "bus": "fedora", "token": TOKEN})
    message = to_message("fedora", Delivery(1, False, topic, received, b"{}", 2), NOW)
    bench.ledger.record([Observation(Series("fedora", "t", "handled", ""), message.id, NOW)])
    routing_key, _ = pika.data.decode_short_string(bytes([len(topic)]) + topic, 0)
    tapped(lambda _: None, reports)(Message(topic=routing_key, properties=listened))
    sent = batch(*reports.take()["reports"])
    assert bench.post(json.dumps(sent).encode()) == (200, "taken\n")
    with bench.ledger.read() as tables:
        [record] = tables.messages.find(message.id)
    assert record.report == "dropped"


def test_an_id_that_is_not_utf8_costs_no_report_of_others(
    tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis
) -> None:
    listener = TappedListener(tmp_path / "listener", rabbitmq, redis)
    toml = rabbitmq.fedora_toml(tmp_path / "fedora.toml", bindings=[listener.key], tls=True)
    busmon = Busmon(tmp_path, {"fedora": {"type": "amqp", "rules": "all", "config": toml}})
    busmon.configure(f'[audit.reports]\nbus = "fedora"\ntoken = "{TOKEN}"')
    listener.tap(f"{busmon.url}/v1/reports")

    def all_reported() -> bool:
        with open_read_only(str(tmp_path / "ledger.sqlite")) as tables:
            known = list(tables.messages.traces("fedora", 0, time.time() + 1))
        return [trace.report for trace in known] == ["dropped"] * 3

    try:
        with busmon, listener:
            busmon.wait_until_ready()
            odd = {"message_id": NOT_UTF8}
            rabbitmq.publish(
                [Publication(topic=listener.key, properties=names) for names in ({}, odd, {})]
            )
            wait_until(all_reported, what="the reports of the three messages")
    finally:
        listener.close()
