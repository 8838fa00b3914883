"""Packit's deployment in small: the listener as its image starts it, its workers, and busmon.

What differs from Packit's own listener is what config/openshift/README.md says.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

import yaml

from tests.deploy.manifests import PACKIT, Manifest, documented
from tests.deploy.on_test_brokers import PORT, REDIS, certificates, listener_toml, packit
from tests.deploy.pod import BUSMON, USER, Image, Pod
from tests.support.brokers import Server, accepts, free_port, wait_until
from tests.support.brokers.rabbitmq import Publication, RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.celery_worker import PROCESS_MESSAGE, CeleryWorker
from tests.support.listener_image import STREAM_9, ListenerImage
from tests.support.listener_process import is_registered
from tests.support.pythons import found

QUEUES = "short-running,long-running,rate-limited"
NAME = "packit-service-fedmsg"
TOKEN = PACKIT["vault"]["busmon"]["metrics_token"]
# In seconds. A window is closed a grace after its end, or later, once the listener is up again. The
# verdict is of the last three windows. For a grace after a start there is no data.
WINDOW, GRACE = 5.0, 4.0
# On a busy machine a batch of the tap can be late. busmon takes a delay of over a second for a hole
# in its reports; that it does, tests/observers/tap shows.
PROGRAM = """
from busmon.cli.main import main
from busmon.observers import tap
tap.ARRIVAL_JITTER_SECONDS = 30
main(prog_name="busmon")
"""
AUDIT = {"BUSMON__AUDIT__WINDOW": f"{WINDOW:g}s", "BUSMON__AUDIT__GRACE": f"{GRACE:g}s"}


class Deployment:
    """All processes of the namespace; `verdicts` has every verdict that was asked for."""

    def __init__(self, directory: Path, rabbitmq: RabbitMQ, redis: Redis) -> None:
        self._rabbitmq = rabbitmq
        self._stack = ExitStack()
        self.port = free_port()
        self._calls = directory / "calls"
        toml = f"{listener_toml(directory, rabbitmq)}\n{consumer_config(redis, self.port)}"
        manifests = packit(directory, rabbitmq, {PORT: self.port, REDIS: redis.port}, toml)
        self._pod = Pod(directory / "busmon", manifests)
        program = [sys.executable, "-c", PROGRAM]  # as the first line of bin/busmon has it
        self._image = replace(BUSMON, entrypoint=program, env={**BUSMON.env, **AUDIT})
        self.verdicts: set[str] = set()
        self.busmon = Server(
            self._pod.command("busmon", self._image),
            directory / "busmon.log",
            ready=lambda _: accepts(self.port),
        )
        self.listener = self._listener(directory, manifests)
        self.worker = CeleryWorker(directory, redis, "-E", "-Q", QUEUES)

    def __enter__(self) -> Self:
        for server in (self.busmon, self.worker, self.listener):
            self._stack.enter_context(server)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait_until_watched(self, first: Publication) -> None:
        """Wait for a window from whose start on busmon has all data.

        Before the `first` task, busmon knows of no worker that sends events.
        """
        watched = time.monotonic() + GRACE
        self.publish(first)
        finished = {"event": "succeeded", "task": PROCESS_MESSAGE}
        wait_until(lambda: self.metric("busmon_celery_task_events_total", **finished), what="it")
        time.sleep(max(watched - time.monotonic(), 0) + WINDOW)

    def publish(self, *messages: Publication) -> list[str]:
        """Publish messages at once, and return their ids."""
        self._rabbitmq.publish(messages)
        return [str(message.message_id) for message in messages]

    def called(self) -> list[str]:
        """Return the id of each message that the listener's callback was called with."""
        file = self._calls / "ids"
        return file.read_text().split() if file.exists() else []

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the series with these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = [line for line in self._get("/metrics").splitlines() if line.startswith(name)]
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if all(text in line for text in wanted)
        )

    def evidence(self) -> str:
        """Return the evidence of the verdict on Fedora's bus of now."""
        verdict = json.loads(self._get("/v1/status"))["buses"]["fedora"]
        self.verdicts.add(verdict["kind"])
        return "\n".join(verdict["evidence"])

    def execute(self, *arguments: str) -> str:
        """Return what a command of busmon prints in its pod, as `oc exec` runs it."""
        command = self._pod.command("busmon", self._image, *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def _get(self, path: str) -> str:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with urlopen(Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)) as answer:
            text: str = answer.read().decode()
        return text

    def _listener(self, directory: Path, manifests: Iterable[Manifest]) -> Server:
        image = listener_image(directory, self._rabbitmq, self._calls, tap=True)
        secrets = [manifest for manifest in manifests if manifest["kind"] == "Secret"]
        pod = Pod(directory / "listener", [listener_deployment(), *secrets])
        return Server(pod.command(NAME, image), directory / "listener.log", ready=is_registered)


def listener_image(directory: Path, rabbitmq: RabbitMQ, calls: Path, *, tap: bool) -> Image:
    """Return Packit's image, with the certificates of its package fedora-messaging.

    The callback notes its calls in the directory `calls`, which is at /calls.
    """
    image = ListenerImage(directory / "image", *STREAM_9)
    if tap:
        image.copy_tap()
    package = directory / "fedora-messaging"
    package.mkdir()
    for name, content in certificates(rabbitmq).items():
        (package / name).write_text(content)
    calls.mkdir()
    os.chown(calls, USER, 0)
    python = found()[STREAM_9[0]].parents[1]
    files = {str(place): place for place in (directory / "image", python)}
    files |= {"/etc/fedora-messaging": package, "/calls": calls}
    return Image(cmd=image.command(), env=image.env, files=files)


def consumer_config(redis: Redis, port: int) -> str:
    """Return the settings of the stand-in's callback, and those of the tap."""
    own = f'[consumer_config.listener]\ncalls = "/calls/ids"\ncelery = "{redis.url}"\n'
    tap = documented("toml", "[consumer_config.busmon]")
    return own + tap.replace("http://busmon:", "http://127.0.0.1:").replace(str(PORT), str(port))


def listener_deployment() -> Manifest:
    """Return a Deployment in the shape of Packit's, with the documented changes for the tap."""
    changes: dict[str, Any] = yaml.safe_load(documented("yaml", "args: [fedora-messaging"))
    volumes: dict[str, Any] = yaml.safe_load(documented("yaml", "volumes:"))
    environment = {
        "FEDORA_MESSAGING_CONF": "/home/packit/.config/fedora.toml",
        "PROJECT": PACKIT["project"],
        "DEPLOYMENT": PACKIT["deployment"],
    }
    mounts = [{"name": "packit-config", "mountPath": "/home/packit/.config"}]
    container = {
        "name": NAME,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "args": changes["args"],
        "volumeMounts": [*mounts, *changes["volumeMounts"]],
    }
    config = {"name": "packit-config", "secret": {"secretName": "packit-config"}}
    spec = {"containers": [container], "volumes": [config, *volumes["volumes"]]}
    template = {"template": {"spec": spec}}
    return {"kind": "Deployment", "metadata": {"name": NAME}, "spec": template}
