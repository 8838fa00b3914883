"""The manifests as they are applied: the plain ones, and Packit's template rendered."""

import re
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

PROJECT = Path(__file__).parents[2]
MANIFESTS = PROJECT / "config/openshift"
KUBERNETES = ("1.27", "1.37")  # OpenShift 4.14, and the newest in the validator
PLAIN = sorted(path for path in MANIFESTS.glob("*.yaml") if path.name != "kustomization.yaml")

# The variables that Packit's playbook passes to its templates, as far as they are used here.
PACKIT: dict[str, Any] = {
    "auto_import_images": "true",
    "deployment": "prod",
    "image_busmon": "quay.io/packit/busmon:prod",
    "managed_platform": False,
    "path_to_secrets": "secrets/packit/prod",
    "project": "packit--prod",
    "redis_hostname": "valkey",
    "vault": {
        "busmon": {
            "metrics_token": "m3trics",
            "page_password": "p4ge",
            "operator_password": "0perator",
            "reports_token": "r3ports",
            "ledger_password": "",
        },
        "sentry": {"dsn": ""},  # as in Packit's secrets for development
    },
}
MANAGED: dict[str, Any] = {
    "managed_platform": True,
    "appcode": "PCKT-002",
    "costcenter": "700",
    "servicephase": "lab",
}

Manifest = dict[str, Any]


def load(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text()))


def render(template: str = "busmon.yml.j2", **variables: Any) -> list[Manifest]:
    """Return the manifests of a template, as Packit's playbook renders them."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True)
    environment.filters["b64encode"] = lambda text: b64encode(text.encode()).decode()
    environment.globals["lookup"] = _lookup
    text = environment.from_string((MANIFESTS / template).read_text())
    return list(yaml.safe_load_all(text.render(PACKIT | variables)))


def _lookup(kind: str, path: str, *, rstrip: bool) -> str:
    """Return what Ansible's lookup of a file does; of one that is not there, its path."""
    assert (kind, rstrip) == ("file", False)
    return Path(path).read_text() if Path(path).exists() else path


IN_POSTGRESQL = {
    "vault": PACKIT["vault"] | {"busmon": PACKIT["vault"]["busmon"] | {"ledger_password": "l3dger"}}
}
REPLICAS = [
    manifest
    for path in sorted((MANIFESTS / "replicas").glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for manifest in load(path)
]
VARIANTS = {
    **{path.stem: load(path) for path in PLAIN},
    "replicas": REPLICAS,
    "packit": render(),
    "packit-secret": render("secret-busmon.yml.j2"),
    "packit-sentry": render(vault={**PACKIT["vault"], "sentry": {"dsn": "https://key@sentry/1"}}),
    "packit-postgresql": render(**IN_POSTGRESQL),
    "packit-postgresql-secret": render("secret-busmon.yml.j2", **IN_POSTGRESQL),
    "packit-stage": render(deployment="stg", project="packit--stg"),
    "packit-managed": render(**MANAGED),
}
MONITORING = {path.stem: load(path) for path in (MANIFESTS / "monitoring").glob("*.yaml")}


def the(kind: str, manifests: Sequence[Manifest]) -> Manifest:
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def workload(manifests: Sequence[Manifest]) -> Manifest:
    """Return what runs busmon's pods: a Deployment, or a StatefulSet."""
    kinds = {manifest["kind"] for manifest in manifests}
    return the("StatefulSet" if "StatefulSet" in kinds else "Deployment", manifests)


SIDECAR = the("Deployment", load(MANIFESTS / "node-exporter/sidecar.yaml"))
[NODE_EXPORTER] = (
    container
    for container in SIDECAR["spec"]["template"]["spec"]["containers"]
    if container["name"] == "node-exporter"
)


def documented(language: str, beginning: str) -> str:
    """Return the block of config/openshift/README.md for Packit's deployment that begins so."""
    document = (PROJECT / "config/openshift/README.md").read_text()
    section = document.split("\n## Packit's deployment repository\n")[1].split("\n## ")[0]
    blocks = re.findall(rf"^ *```{language}\n(.*?)^ *```", section, re.DOTALL | re.MULTILINE)
    [block] = [text for text in map(dedent, blocks) if text.startswith(beginning)]
    return block
