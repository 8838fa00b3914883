"""busmon started on the file system that the manifests mount, at a broker with TLS."""

import os
import re
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

from busmon.ledger.ledger import Ledger
from tests.deploy.deployment import NAME, consumer_config, listener_deployment, listener_image
from tests.deploy.manifests import IN_POSTGRESQL, PROJECT, Manifest
from tests.deploy.on_test_brokers import (
    PORT,
    REDIS,
    listener_toml,
    packit,
    plain,
    replica,
    secret,
    sidecar,
)
from tests.deploy.pod import BUSMON, USER, Pod
from tests.support.brokers import Server, accepts, free_port, wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.exposition import counter
from tests.support.ledger_server import LedgerServer
from tests.support.ledgers import judged
from tests.support.listener_process import is_registered

# A pod's container is made by mount and chroot. CI runs as root, so it skips nothing.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mount and chroot need root")

TOKEN = {"Authorization": "Bearer m3trics"}
LOGIN = {"Authorization": f"Basic {b64encode(b'packit:p4ge').decode()}"}
COPR = Publication(topic="org.fedoraproject.prod.copr.build.end", body=b'{"user": "packit"}')


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def packit_manifests(tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis, port: int) -> list[Manifest]:
    toml = listener_toml(tmp_path, rabbitmq)
    return packit(tmp_path, rabbitmq, {PORT: port, REDIS: redis.port}, toml)


@contextmanager
def running(pod: Pod, log: Path, port: int) -> Iterator[Server]:
    with Server(pod.command("busmon", BUSMON), log, ready=lambda _: accepts(port)) as busmon:
        yield busmon


def get(port: int, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> tuple[int, str]:
    request = Request(f"http://127.0.0.1:{port}{path}", headers=dict(headers))
    try:
        with urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def answers_ready(port: int) -> bool:
    return get(port, "/ready")[0] == 200


def has_counted(number: int, port: int) -> bool:
    return counter(get(port, "/metrics")[1]).total() == number


def counts_a_message(
    directory: Path,
    rabbitmq: RabbitMQ,
    manifests: Sequence[Manifest],
    port: int,
    stranger: int = 200,  # how a request without credentials is answered
) -> None:
    pod = Pod(directory / "pod", manifests)
    with running(pod, directory / "log", port) as busmon:
        wait_until(lambda: get(port, "/ready")[0] == 200, what="busmon to be ready")
        assert f"Uid:\t{USER}\t" in Path(f"/proc/{busmon.pid}/status").read_text()
        rabbitmq.publish([COPR])
        wait_until(
            lambda: counter(get(port, "/metrics", TOKEN)[1]).total() == 1, what="the message"
        )
        for path in ("/", "/metrics"):
            answers = [get(port, path, headers)[0] for headers in (TOKEN, LOGIN, {})]
            assert answers == [200, 200, stranger]
        assert busmon.terminate() == 0
    assert (pod.volumes["ledger"] / "ledger.sqlite").exists()


def test_busmon_starts_as_packits_template_mounts_it(
    tmp_path: Path, rabbitmq: RabbitMQ, packit_manifests: list[Manifest], port: int
) -> None:
    counts_a_message(tmp_path, rabbitmq, packit_manifests, port, stranger=401)


def test_packits_busmon_takes_its_ledger_along_to_postgresql(
    tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis, ledger_server: LedgerServer, port: int
) -> None:
    """With the command that config/postgresql/README.md names."""
    toml, ports = listener_toml(tmp_path, rabbitmq), {PORT: port, REDIS: redis.port}
    manifests = packit(tmp_path, rabbitmq, ports, toml, **IN_POSTGRESQL)
    [of_busmon] = [m for m in manifests if m["kind"] == "Secret" and "data" in m]
    rendered = b64decode(of_busmon["data"]["ledger-url"])
    assert rendered == b"postgresql://busmon:l3dger@postgres/busmon?sslmode=disable"
    url = ledger_server.url_of(ledger_server.emptied())
    of_busmon["data"]["ledger-url"] = b64encode(url.encode()).decode()
    pod = Pod(tmp_path / "pod", manifests)
    directory = pod.volumes["ledger"]
    with closing(Ledger(str(directory / "ledger.sqlite"))) as ledger:
        ledger.record(judged(COPR.message_id))
    for file in directory.iterdir():
        os.chown(file, USER, 0)
    documented = (PROJECT / "config/postgresql/README.md").read_text()
    [command] = re.findall(r"oc debug deployment/busmon -- busmon (.*)", documented)
    subprocess.run(pod.command("busmon", BUSMON, *command.split()), check=True)
    with running(pod, tmp_path / "log", port) as busmon:
        wait_until(lambda: get(port, "/ready")[0] == 200, what="busmon to be ready")
        rabbitmq.publish([replace(COPR, message_id=str(uuid4())), COPR])

        def duplicates() -> int:
            text = get(port, "/metrics", TOKEN)[1]
            return counter(text, "busmon_duplicates_total", ("bus",)).total()

        wait_until(lambda: duplicates() == 1, what="both messages")
        assert counter(get(port, "/metrics", TOKEN)[1]).total() == 2
        assert busmon.terminate() == 0


def test_busmon_starts_as_the_kustomization_mounts_it(
    tmp_path: Path, rabbitmq: RabbitMQ, port: int
) -> None:
    counts_a_message(tmp_path, rabbitmq, plain(rabbitmq, {PORT: port}), port)


def test_replicas_share_a_ledger_as_their_component_mounts_it(
    tmp_path: Path, rabbitmq: RabbitMQ, ledger_server: LedgerServer
) -> None:
    url = ledger_server.url_of(ledger_server.emptied())
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        for port in ports:
            pod = Pod(tmp_path / f"pod{port}", replica(rabbitmq, {PORT: port}, url))
            stack.enter_context(running(pod, tmp_path / f"log{port}", port))
            wait_until(partial(answers_ready, port), what="a replica to be ready")
        leader, follower = ports
        led = f"standby: http://127.0.0.1:{leader} leads"
        wait_until(lambda: get(follower, "/ready")[1].startswith(led), what="its leader's name")
        rabbitmq.publish([COPR, replace(COPR, message_id=str(uuid4()))])
        for port in ports:
            wait_until(partial(has_counted, 2, port), what="both messages")
        assert get(follower, "/v1/status")[0] == 200


def test_busmon_starts_as_a_sidecar(tmp_path: Path, rabbitmq: RabbitMQ, port: int) -> None:
    toml = listener_toml(tmp_path, rabbitmq)
    counts_a_message(tmp_path, rabbitmq, sidecar(rabbitmq, {PORT: port}, toml), port)


def test_the_sidecar_brings_the_tap_to_an_image_without_it(
    tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis, port: int
) -> None:
    """Its args keep the PYTHONPATH of the image, in which callback and Celery are."""
    toml = f"{listener_toml(tmp_path, rabbitmq)}\n{consumer_config(redis, port)}"
    pod = Pod(tmp_path / "pod", sidecar(rabbitmq, {PORT: port}, toml))
    image = listener_image(tmp_path, rabbitmq, tmp_path / "calls", tap=False)
    subprocess.run(pod.command("busmon-tap", BUSMON), check=True)
    listener = Server(pod.command(NAME, image), tmp_path / "listener.log", ready=is_registered)
    dropped = 'busmon_tap_reports_total{bus="fedora",state="dropped"} 1.0\n'
    with running(pod, tmp_path / "log", port), listener:
        rabbitmq.publish([COPR])
        wait_until(lambda: dropped in get(port, "/metrics")[1], what="the report of the tap")


def test_packits_listener_starts_without_the_secret_of_busmon(
    tmp_path: Path, rabbitmq: RabbitMQ, redis: Redis, port: int
) -> None:
    toml = f"{listener_toml(tmp_path, rabbitmq)}\n{consumer_config(redis, port)}"
    config = secret("packit-config", {"fedora.toml": toml})
    pod = Pod(tmp_path / "pod", [listener_deployment(), config])
    calls = tmp_path / "calls"
    image = listener_image(tmp_path, rabbitmq, calls, tap=True)
    with Server(pod.command(NAME, image), tmp_path / "listener.log", ready=is_registered):
        rabbitmq.publish([COPR])
        wait_until(lambda: (calls / "ids").exists(), what="the call of the callback")


def test_the_lists_of_topics_differ_in_packits_pod_only_as_accepted(
    tmp_path: Path, packit_manifests: list[Manifest]
) -> None:
    lint = Pod(tmp_path / "pod", packit_manifests).command("busmon", BUSMON, "lint")
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("no differences, 10 accepted: ")


def test_busmon_sees_no_credentials_of_the_workers(
    tmp_path: Path, packit_manifests: list[Manifest]
) -> None:
    pod = Pod(tmp_path / "pod", packit_manifests)
    assert [path.name for path in pod.volumes["packit-config"].iterdir()] == ["fedora.toml"]
