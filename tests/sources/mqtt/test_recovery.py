"""A broker that fails, goes silent, forgets or gives the session to another."""

import shutil
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from busmon.sources.base import Cause
from busmon.sources.mqtt.source import MqttSource
from tests.support.brokers import wait_until
from tests.support.brokers.certificates import Certificates
from tests.support.brokers.mosquitto import Mosquitto
from tests.support.brokers.proxy import Proxy
from tests.support.mqtt import VERSIONS, login, numbered, running, settings
from tests.support.sources import Recorder, once, wait_for_problem
from tests.support.sources import running as running_source


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
