"""What a message is, once its packet is read."""

import pytest

from busmon.sources.json_body import NOT_JSON, NOT_OBJECT, NOT_UTF8
from busmon.sources.mqtt.packets import Publish
from busmon.sources.mqtt.source import to_message
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.mqtt import numbered, running, settings
from tests.support.sources import Recorder


def test_bad_payloads_are_rejected_one_by_one(mosquitto: Mosquitto, root: str) -> None:
    bad = [(f"{root}/a", payload) for payload, _ in BAD]
    recorder = Recorder()
    with running(settings(mosquitto, root), recorder) as source:
        mosquitto.publish([*numbered(root, [0]), *bad, *numbered(root, [1])])
        recorder.wait_for(len(bad) + 2)
        assert source.connection.connects == 1
    assert [message.unreadable for message in recorder.counted] == [
        None,
        *(why for _, why in BAD),
        None,
    ]
    assert [message.body for message in recorder.counted] == [
        {"n": 0},
        *(None for _ in BAD),
        {"n": 1},
    ]


BAD = [
    (b"\xff{}", NOT_UTF8),
    (b"", NOT_JSON),
    (b"{", NOT_JSON),
    (b"[" * 100_000, NOT_JSON),
    (b"9" * 5000, NOT_JSON),
    (b"[]", NOT_OBJECT),
    (b"null", NOT_OBJECT),
    (b'"text"', NOT_OBJECT),
]


def test_a_topic_that_is_not_utf8_is_shown_escaped() -> None:
    assert to_message("centos", Publish(b"a/\xff", b"{}", 2), 1.0).topic == r"a/\xff"


FIRST = Publish(b"a/b", b"{}", 2, mid=1, qos=1)
QOS0 = Publish(b"a/b", b"{}", 2)
RETAINED = FIRST._replace(retain=True)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (FIRST, FIRST._replace(dup=True), True),
        (FIRST, FIRST, False),  # the packet id is free again once acknowledged
        (FIRST, FIRST._replace(mid=2), False),
        (FIRST, FIRST._replace(dup=True, payload=b"{ }"), False),
        (FIRST, FIRST._replace(dup=True, topic=b"a/c"), False),
        (QOS0, QOS0, False),
        (RETAINED, RETAINED._replace(mid=2), True),
        (RETAINED, QOS0._replace(retain=True), True),
        (RETAINED, RETAINED._replace(payload=b"{ }"), False),
        (FIRST, RETAINED, False),
    ],
)
def test_which_packets_are_one_message(one: Publish, other: Publish, same: bool) -> None:
    recorder = Recorder()
    recorder([to_message("centos", packet, 1.0) for packet in (one, other)])
    assert recorder.duplicates == int(same)
