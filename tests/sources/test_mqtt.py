"""The MQTT source against a real Mosquitto."""

import contextlib
import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from busmon.message import Judgement, Message
from busmon.sources.base import Cause
from busmon.sources.json_body import NOT_JSON, NOT_OBJECT, NOT_UTF8
from busmon.sources.mqtt.packets import Publish
from busmon.sources.mqtt.settings import MqttBus
from busmon.sources.mqtt.source import OTHER_SUBTOPIC, MqttSource, to_message
from tests.support.brokers import free_port, wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import USER, Mosquitto
from tests.support.brokers.proxy import Proxy
from tests.support.brokers.rabbitmq import USER as RABBITMQ_USER
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.mqtt import ACCEPTED, SUBSCRIBED, running, scripted, settings_of
from tests.support.sources import Recorder, failing_once, once, wait_for_problem
from tests.support.sources import running as running_source

VERSIONS = ("3.1.1", "5")


@pytest.fixture
def root() -> str:
    """The first level of this test's topics, and the client's id."""
    return f"bus-{uuid4().hex[:8]}"


def settings(broker: Mosquitto, root: str, **changes: Any) -> MqttBus:
    return settings_of(**{"url": broker.url, "root": root, **changes})


def numbered(root: str, numbers: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    return ((f"{root}/pull-request.{n % 7}", b'{"n": %d}' % n) for n in numbers)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_message_is_received_once(mosquitto: Mosquitto, root: str, version: str) -> None:
    recorder = Recorder()
    with running(settings(mosquitto, root, version=version), recorder) as source:
        mosquitto.publish(numbered(root, range(5000)))
        recorder.wait_for(5000)
        assert (source.connection.connects, source.connection.problem()) == (1, None)
    assert recorder.numbers() == once(5000)
    assert recorder.duplicates == 0
    for message in recorder.counted:
        n = message.get("n")
        assert (message.bus, message.topic) == ("centos", f"{root}/pull-request.{n % 7}")
        assert message.size == len(f'{{"n": {n}}}')
        assert (message.sent_at, message.rejected, message.redelivered) == (None, None, False)


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_lost_while_nothing_can_be_recorded(
    mosquitto: Mosquitto, root: str, version: str
) -> None:
    recorder = Recorder()
    with running(settings(mosquitto, root, version=version), recorder) as source:
        recorder.failing = True
        mosquitto.publish(numbered(root, [0]), qos=0)  # no broker will send it again
        wait_until(lambda: source.connection.disconnects[Cause.LEDGER], what="the disconnection")
        mosquitto.publish(numbered(root, range(1, 1000)))
        wait_until(lambda: source.connection.failures[Cause.LEDGER], what="another try")
        wait_for_problem(source, "ledger: disk full")
        recorder.failing = False
        recorder.wait_for(1000)
    assert recorder.numbers() == once(1000)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bug_is_survived_and_loses_nothing(mosquitto: Mosquitto, root: str, version: str) -> None:
    """Nor is anything of QoS 0 lost that was judged before, but not recorded yet."""
    recorder, first, others = Recorder(), threading.Event(), threading.Event()

    def waiting_for_others(batch: Sequence[Message]) -> None:
        recorder(batch)
        first.set()
        assert others.wait(30)

    handler = failing_once(waiting_for_others, "judge", at=2)
    with running(settings(mosquitto, root, version=version), handler) as source:
        mosquitto.publish(numbered(root, [0]))
        assert first.wait(30)
        mosquitto.publish(numbered(root, [1]), qos=0)
        mosquitto.publish(numbered(root, range(2, 100)))
        others.set()
        recorder.wait_for(100)
        assert source.connection.disconnects[Cause.ERROR] == 1
    assert recorder.numbers() == once(100)


def test_what_is_lost_because_it_was_never_recorded_is_reported(
    mosquitto: Mosquitto, root: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    with running(settings(mosquitto, root), recorder) as source:
        recorder.failing = True
        mosquitto.publish(numbered(root, [0]), qos=0)
        wait_for_problem(source, "ledger: disk full")
    assert "centos: messages of QoS 0 that are lost: 1" in caplog.messages


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_recorded_but_not_acknowledged_is_not_counted_again(
    mosquitto: Mosquitto, root: str, version: str
) -> None:
    recorder = Recorder()
    bus = settings(mosquitto, root, version=version)
    with running(bus, recorder) as source:
        recorder.crashing = True
        mosquitto.publish(numbered(root, range(1000)))
        wait_until(lambda: source.connection.disconnects[Cause.LEDGER], what="the crash")
    recorder.crashing = False
    known = len(recorder.counted)
    before = recorder.duplicates  # of a second crash, where it was not stopped soon enough
    assert known
    with running(bus, recorder):
        wait_until(lambda: len(recorder.counted) + recorder.duplicates >= 1000 + known + before)
    assert recorder.numbers() == once(1000)
    assert recorder.duplicates == known + before


def test_stopped_in_mid_stream_it_continues_where_it_stopped(
    mosquitto: Mosquitto, root: str
) -> None:
    recorder = Recorder()
    bus = settings(mosquitto, root)
    with running(bus, recorder):
        pass
    mosquitto.publish(numbered(root, range(5000)))
    runs = 0
    while len(recorder.counted) < 5000:
        with running(bus, recorder, connected=False):
            recorder.wait_for(len(recorder.counted) + 1)
        runs += 1
    assert recorder.numbers() == once(5000)
    assert runs > 1


def test_the_same_content_sent_twice_is_two_messages(mosquitto: Mosquitto, root: str) -> None:
    recorder = Recorder()
    with running(settings(mosquitto, root), recorder):
        mosquitto.publish([(f"{root}/a", b'{"n": 0}')] * 100)
        mosquitto.publish([(f"{root}/a", b'{"n": 0}')] * 100, qos=0)
        recorder.wait_for(200)
    assert recorder.numbers() == Counter({0: 200})


@pytest.mark.parametrize("version", VERSIONS)
def test_what_another_client_subscribed_to_with_qos_2_is_counted_too(
    mosquitto: Mosquitto, root: str, version: str
) -> None:
    """busmon asks for 1 at most, but the broker keeps what it had queued in the session."""
    subscribe(mosquitto, root, qos=2)
    mosquitto.publish(numbered(root, range(100)), qos=2)
    recorder = Recorder()
    with running(settings(mosquitto, root, version=version), recorder):
        recorder.wait_for(100)
        mosquitto.publish(numbered(root, range(100, 200)))
        recorder.wait_for(200)
    with running(settings(mosquitto, root, version=version), recorder):
        mosquitto.publish(numbered(root, [200]))
        recorder.wait_for(201)
    assert recorder.numbers() == once(201)
    assert recorder.duplicates == 0


def subscribe(mosquitto: Mosquitto, root: str, qos: int) -> None:
    """Make the session of this test's client, without busmon."""
    other = paho.Client(CallbackAPIVersion.VERSION2, client_id=root, clean_session=False)

    def on_connect(*_: object) -> None:
        other.subscribe(f"{root}/#", qos)

    def on_subscribe(*_: object) -> None:
        other.disconnect()

    other.on_connect, other.on_subscribe = on_connect, on_subscribe
    other.connect("127.0.0.1", mosquitto.port)
    other.loop_forever()


@pytest.mark.parametrize(("version", "duplicates"), [("3.1.1", 2), ("5", 0)])
def test_a_retained_message_is_counted_once(
    mosquitto: Mosquitto, root: str, version: str, duplicates: int
) -> None:
    """With MQTT 5 it does not even come again where the broker kept the session."""
    recorder = Recorder()
    mosquitto.publish(numbered(root, range(2)), retain=True)
    for expected in (2, 3):
        with running(settings(mosquitto, root, version=version), recorder):
            mosquitto.publish(numbered(root, [expected]))
            recorder.wait_for(expected)
    mosquitto.publish([(f"{root}/pull-request.{n}", b"") for n in range(2)], retain=True)
    assert len(recorder.counted) == 4
    assert recorder.duplicates == duplicates


@pytest.mark.parametrize("version", VERSIONS)
def test_a_broker_down_at_start_and_restarted_in_mid_stream(
    tmp_path: Path, certificates: Certificates, root: str, version: str
) -> None:
    """With Mosquitto's default of 20 messages in flight."""
    recorder = Recorder()
    broker = Mosquitto(tmp_path, certificates, inflight=20)
    bus = settings(broker, root, version=version)
    with running(bus, recorder, connected=False) as source:
        where = broker.url.removeprefix("mqtt://")
        wait_for_problem(source, f"network: {where}: Connection refused")
        with broker:
            wait_until(lambda: source.connection.connected, what="the connection")
            broker.publish(numbered(root, range(2000)))
            recorder.wait_for(100)
            broker.restart()
            broker.publish(numbered(root, range(2000, 4000)))
            recorder.wait_for(4000)
            assert source.connection.connects == 2
    assert recorder.numbers() == once(4000)


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
def test_a_network_gone_silent_is_noticed_and_recovers(
    mosquitto: Mosquitto, certificates: Certificates, root: str, scheme: str
) -> None:
    recorder = Recorder()
    tls = scheme == "mqtts"
    with Proxy(mosquitto.tls_port if tls else mosquitto.port) as proxy:
        changes = login(certificates) if tls else {}
        url = f"{scheme}://127.0.0.1:{proxy.port}"
        with running(
            settings(mosquitto, root, url=url, keepalive=1, **changes), recorder
        ) as source:
            proxy.cut()
            wait_until(lambda: source.connection.disconnects[Cause.NETWORK], what="the reset")
            wait_until(lambda: source.connection.connected, what="the connection")
            proxy.swallow()
            mosquitto.publish(numbered(root, range(1000)))
            wait_until(lambda: source.connection.disconnects[Cause.SILENT], what="the silence")
            proxy.heal()
            recorder.wait_for(1000)
    assert recorder.numbers() == once(1000)


def login(certificates: Certificates) -> dict[str, Path]:
    certificate, key = certificates.client("busmon")
    return {"ca": certificates.ca, "certificate": certificate, "key": key}


def refusals(
    mosquitto: Mosquitto, certificates: Certificates
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield settings with which no connection is made, and how the reported problem ends."""
    good: dict[str, Any] = {"url": mosquitto.tls_url} | login(certificates)
    other, other_key = certificates.untrusted_client("busmon")
    closed = f"127.0.0.1:{free_port()}"
    yield (
        {"username": USER[0], "password": "wrong-horse"},
        "login: the broker refuses: Not authorized; check username, password and certificate",
    )
    yield (
        good | {"ca": certificates.other_ca},
        "tls: *: the broker's certificate is not trusted: check ca (self-signed certificate *)",
    )
    yield (
        good | {"certificate": other, "key": other_key},
        "tls: *: TLS failed: check certificate and key (*)",
    )
    yield (
        good | {"certificate": None, "key": None},
        "tls: *: TLS failed: check certificate and key (*)",
    )
    yield (
        good | {"key": other_key},
        f"tls: check key: {other_key} does not belong to the certificate {good['certificate']}",
    )
    yield (
        good | {"url": f"mqtts://127.0.0.1:{mosquitto.port}"},
        "tls: *: Connection reset by peer in the TLS handshake: check that the port speaks TLS",
    )
    yield (
        {"url": f"mqtt://127.0.0.1:{mosquitto.tls_port}"},
        "network: *: Connection reset by peer before an answer: *check whether the port wants TLS",
    )
    yield {"url": f"mqtt://{closed}"}, f"network: {closed}: Connection refused"
    yield (
        {"url": "mqtt://nowhere.invalid"},
        "network: nowhere.invalid:1883: unknown host: check url (Name or service not known)",
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_it_says_why_it_cannot_connect(
    mosquitto: Mosquitto,
    certificates: Certificates,
    root: str,
    version: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for changes, expected in refusals(mosquitto, certificates):
        bus = settings(mosquitto, root, version=version, **changes)
        with running(bus, Recorder(), connected=False) as source:
            wait_for_problem(source, expected)
    assert "wrong-horse" not in caplog.text


def test_a_broker_without_mqtt_5_is_told_from_one_that_wants_tls(
    rabbitmq: RabbitMQ, certificates: Certificates, root: str
) -> None:
    """RabbitMQ before 3.13 closes the connection without a word."""
    plain, tls = rabbitmq.mqtt_port, rabbitmq.mqtts_port
    user = {"username": RABBITMQ_USER[0], "password": RABBITMQ_USER[1]}
    secure = user | login(certificates)
    silent = 'network: *: closed by the broker before an answer: try version = "3.1.1", and check *'
    cases: list[tuple[str, dict[str, Any], str]] = [
        (f"mqtt://127.0.0.1:{plain}", user, f"{silent} TLS"),
        (f"mqtts://127.0.0.1:{tls}", secure, f"{silent} key"),
        (f"mqtt://127.0.0.1:{tls}", user, "error: *: check url and version (*)"),
    ]
    for url, more, expected in cases:
        with running(settings_of(url, root, **more), Recorder(), connected=False) as source:
            wait_for_problem(source, expected)
    for url, more, _ in cases[:2]:
        with running(settings_of(url, root, version="3.1.1", **more), Recorder()):
            pass


def test_a_certificate_renewed_on_disk_is_used_at_the_next_connection(
    mosquitto: Mosquitto, certificates: Certificates, root: str, tmp_path: Path
) -> None:
    recorder = Recorder()
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    install(certificates.untrusted_client("busmon"), certificate, key)
    changes = {"ca": certificates.ca, "certificate": certificate, "key": key}
    bus = settings(mosquitto, root, url=mosquitto.tls_url, **changes)
    with running(bus, recorder, connected=False) as source:
        wait_until(lambda: source.connection.failures[Cause.TLS], what="the refusal")
        install(certificates.client("busmon"), certificate, key)
        wait_until(lambda: source.connection.connected, what="the connection")
        mosquitto.publish(numbered(root, range(1000)))
        recorder.wait_for(1000)
    assert recorder.numbers() == once(1000)


def install(pair: tuple[Path, Path], certificate: Path, key: Path) -> None:
    shutil.copy(pair[0], certificate)
    shutil.copy(pair[1], key)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_subscription_denied_is_not_a_connection(
    tmp_path: Path, certificates: Certificates, root: str, version: str
) -> None:
    with Mosquitto(tmp_path, certificates, options=deny_subscriptions(tmp_path)) as broker:
        bus = settings(broker, root, version=version)
        with running(bus, Recorder(), connected=False) as source:
            wait_for_problem(source, f"denied: may not subscribe to {root}/#: *")
            assert source.connection.connects == 0


def deny_subscriptions(directory: Path) -> list[str]:
    """Mosquitto's ACL file does not concern subscriptions; its plugin does."""
    rules = directory / "dynamic-security.json"
    allowed = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False}
    rules.write_text(json.dumps({"defaultACLAccess": allowed}))
    (library,) = Path("/usr/lib").glob("**/mosquitto_dynamic_security.so")
    return [f"plugin {library}", f"plugin_opt_config_file {rules}"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_taken_over_is_taken_back(
    mosquitto: Mosquitto, root: str, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    """This Mosquitto just closes the connection; what others say is in the table below."""
    recorder = Recorder()
    with running(settings(mosquitto, root, version=version), recorder) as source:
        thief = paho.Client(CallbackAPIVersion.VERSION2, client_id=root, clean_session=False)
        thief.connect("127.0.0.1", mosquitto.port)
        wait_until(lambda: source.connection.disconnects[Cause.NETWORK], what="the take-over")
        wait_until(lambda: f"is there another client with client_id {root}?" in caplog.text)
        mosquitto.publish(numbered(root, range(10)))
        recorder.wait_for(10)
        thief.disconnect()
    assert recorder.numbers() == once(10)


@pytest.mark.parametrize(
    ("version", "says", "expected"),
    [
        (
            "5",
            [],
            'network: *: closed by the broker before an answer: try version = "3.1.1", and *',
        ),
        (
            "3.1.1",
            [],
            "network: *: closed by the broker before an answer: check whether the port wants TLS",
        ),
        (
            "5",
            [b"\x20\x03\x00\x84\x00"],
            "error: the broker refuses: Unsupported protocol version; check version",
        ),
        (
            "3.1.1",
            [b"\x20\x02\x00\x01"],
            "error: the broker refuses: Unsupported protocol version; check version",
        ),
        (
            "5",
            [b"\x20\x02\x00\x01"],
            "error: the broker refuses: Unsupported protocol version; check version",
        ),
        (
            "5",
            [b"\x20\x03\x00\x85\x00"],
            "login: the broker refuses: Client identifier not valid; check client_id",
        ),
        (
            "3.1.1",
            [b"\x20\x02\x00\x04"],
            "login: the broker refuses: Bad user name or password; check username and password",
        ),
        (
            "3.1.1",
            [b"\x20\x02\x00\x03"],
            "network: the broker refuses: Server unavailable; trying again",
        ),
        (
            "5",
            [b"HTTP/1.1 400\r\n\r\n" * 10],
            "error: the broker breaks the protocol: check url and version (*)",
        ),
        (
            "5",
            [ACCEPTED, SUBSCRIBED + b"\xe0\x01\x8e"],
            "cancelled: Session taken over: is there another client with client_id busmon?",
        ),
        (
            "5",
            [ACCEPTED, SUBSCRIBED + b"\xe0\x01\x8b"],
            "network: closed by the broker: Server shutting down",
        ),
        ("5", [ACCEPTED, b"\xe0\x01\x98"], "network: closed by the broker: Administrative action"),
    ],
)
def test_what_a_broker_says_is_reported(version: str, says: list[bytes], expected: str) -> None:
    with scripted(says) as url:
        bus = settings_of(url, "busmon", version=version)
        with running(bus, Recorder(), connected=False) as source:
            wait_for_problem(source, expected)


def test_a_broker_that_does_not_answer_is_reported() -> None:
    answers = {"CONNACK": [], "SUBACK": [ACCEPTED]}  # at the same time, for each takes 10 s
    with contextlib.ExitStack() as stack:
        sources = {}
        for missing, says in answers.items():
            url = stack.enter_context(scripted(says, then_close=False))
            made = running(settings_of(url, "busmon"), Recorder(), connected=False)
            sources[missing] = stack.enter_context(made)
        for missing, source in sources.items():
            wait_for_problem(source, f"silent: no {missing} within 10 s")


def test_a_lower_quality_of_service_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with (
        scripted([ACCEPTED, b"\x90\x04\x00\x01\x00\x00"], then_close=False) as url,
        running(settings_of(url, "busmon"), Recorder()),
    ):
        assert "centos: busmon/# is subscribed with QoS 0 only" in caplog.text


def test_bad_payloads_are_rejected_one_by_one(mosquitto: Mosquitto, root: str) -> None:
    bad = [(f"{root}/a", payload) for payload, _ in BAD]
    recorder = Recorder()
    with running(settings(mosquitto, root), recorder) as source:
        mosquitto.publish([*numbered(root, [0]), *bad, *numbered(root, [1])])
        recorder.wait_for(len(bad) + 2)
        assert source.connection.connects == 1
    assert [message.rejected for message in recorder.counted] == [
        None,
        *(rejected for _, rejected in BAD),
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


@pytest.mark.parametrize(
    ("topic", "subtopics", "rejected"),
    [
        ("git.centos.org/pull-request.new", (), None),
        ("git.centos.org/pull-request.new", ("pull-request",), None),
        ("git.centos.org/git.receive", ("pull-request", "git."), None),
        ("git.centos.org/git.receive", ("pull-request",), OTHER_SUBTOPIC),
        ("pull-request.new", ("pull-request",), OTHER_SUBTOPIC),
        ("a/b/pull-request.new", ("pull-request",), OTHER_SUBTOPIC),
    ],
)
def test_other_subtopics_are_not_read(
    topic: str, subtopics: tuple[str, ...], rejected: Judgement | None
) -> None:
    bus = settings_of("mqtt://localhost", "busmon", subtopics=subtopics)
    assert (OTHER_SUBTOPIC in MqttSource("centos", bus).rejections) == bool(subtopics)
    message = to_message("centos", Publish(topic.encode(), b"{}", 2), subtopics, 1.0)
    assert (message.topic, message.rejected) == (topic, rejected)
    assert message.body == (None if rejected else {})


def test_a_topic_that_is_not_utf8_is_shown_escaped() -> None:
    assert to_message("centos", Publish(b"a/\xff", b"{}", 2), (), 1.0).topic == r"a/\xff"


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
    recorder([to_message("centos", packet, (), 1.0) for packet in (one, other)])
    assert recorder.duplicates == int(same)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_that_the_broker_forgot_is_reported(
    mosquitto: Mosquitto, root: str, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    forgotten = []
    for received, end in ((False, False), (True, False), (True, True)):
        if end:
            other = paho.Client(CallbackAPIVersion.VERSION2, client_id=root, clean_session=True)
            other.on_connect = lambda client, *_: client.disconnect()
            other.connect("127.0.0.1", mosquitto.port)
            other.loop_forever()
        source = MqttSource("centos", settings(mosquitto, root, version=version), received=received)
        with running_source(source, Recorder()):
            forgotten.append(source.connection.forgotten)
    assert forgotten == [0, 0, 1]
    assert caplog.messages.count("centos: the broker kept no session, and no message for it") == 1
