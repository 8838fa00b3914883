"""The manifests with the tests' brokers, ports and certificates in place of the real ones."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.deploy.manifests import PROJECT, VARIANTS, Manifest, render
from tests.support.brokers.rabbitmq import RabbitMQ

CERTIFICATES = {"ca_cert": "cacert.pem", "certfile": "fedora-cert.pem", "keyfile": "fedora-key.pem"}
PORT = 12876  # busmon's, in every manifest
REDIS = 6379
PUBLIC_BROKER = "amqps://fedora:@rabbitmq.fedoraproject.org/%2Fpublic_pubsub"
TOPICS: list[str] = tomllib.loads((PROJECT / "config/fedora.toml").read_text())["bindings"][0][
    "routing_keys"
]


def listener_toml(directory: Path, rabbitmq: RabbitMQ, queue: str = "") -> str:
    """Return a listener's fedora.toml in the shape of Packit's.

    It names the certificates where the listener's image has them, a queue that ends with the
    connection, and no callback: that is in the image's CMD.
    """
    ca, certificate, key = (Path("/etc/fedora-messaging", name) for name in CERTIFICATES.values())
    text = rabbitmq.fedora_toml(
        directory / "fedora.toml",
        queue=queue or str(uuid4()),
        bindings=TOPICS,
        ca=ca,
        certificate=(certificate, key),
    ).read_text()
    return re.sub(r"(?m)^callback = .*\n", "", text)


def packit(
    directory: Path, rabbitmq: RabbitMQ, ports: Mapping[int, int], toml: str, **variables: Any
) -> list[Manifest]:
    """Return the manifests of Packit's templates, and the Secret of its listener."""
    for name, content in certificates(rabbitmq).items():
        (directory / name).write_text(content)
    listener = {"packit-service.yaml": "a: secret", "copr": "another", "fedora.toml": toml}
    manifests = [
        *render(redis_hostname="127.0.0.1", **variables),
        *render("secret-busmon.yml.j2", path_to_secrets=str(directory), **variables),
        secret("packit-config", listener),
    ]
    return replaced(manifests, ports)


def plain(rabbitmq: RabbitMQ, ports: Mapping[int, int]) -> list[Manifest]:
    """Return what the kustomization applies, and the Secret."""
    return _with_secret(VARIANTS["deployment"], rabbitmq, ports)


def replica(rabbitmq: RabbitMQ, ports: Mapping[int, int], url: str) -> list[Manifest]:
    """Return what it applies with its component `replicas`, and the Secrets; `url` is a ledger."""
    manifests = _with_secret(VARIANTS["replicas"], rabbitmq, ports)
    return [*manifests, secret("busmon-ledger", {"uri": url})]


def _with_secret(
    manifests: Sequence[Manifest], rabbitmq: RabbitMQ, ports: Mapping[int, int]
) -> list[Manifest]:
    content = {"reports-token": "r3ports"} | certificates(rabbitmq)
    url = {PUBLIC_BROKER: rabbitmq.url_for_fedora()}
    together = [*manifests, *VARIANTS["configmap"], secret("busmon", content)]
    return replaced(together, {**ports, **url})


def sidecar(rabbitmq: RabbitMQ, ports: Mapping[int, int], toml: str) -> list[Manifest]:
    """Return the manifests of the sidecar, and both Secrets."""
    content = {"reports-token": "r3ports"} | certificates(rabbitmq)
    secrets = [secret("busmon", content), secret("packit-config", {"fedora.toml": toml})]
    return replaced([*VARIANTS["sidecar"], *secrets], ports)


def secret(name: str, content: Mapping[str, str]) -> Manifest:
    return {"kind": "Secret", "metadata": {"name": name}, "stringData": content}


def replaced(manifests: Sequence[Manifest], names: Mapping[Any, Any]) -> list[Manifest]:
    """Return the manifests with other ports and URLs, wherever they are named."""
    text = json.dumps(manifests)
    for name, other in names.items():
        assert str(name) in text
        text = text.replace(str(name), str(other))
    changed: list[Manifest] = json.loads(text)
    return changed


def certificates(rabbitmq: RabbitMQ) -> dict[str, str]:
    """Return the files of the package fedora-messaging, for this broker."""
    certificate, key = rabbitmq.certificates.client("fedora")
    files = (rabbitmq.certificates.ca, certificate, key)
    return {name: path.read_text() for name, path in zip(CERTIFICATES.values(), files, strict=True)}
