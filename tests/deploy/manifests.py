"""The manifests as they are applied: the plain ones, and Packit's template rendered."""

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

PROJECT = Path(__file__).parents[2]
MANIFESTS = PROJECT / "config/openshift"
PLAIN = sorted(path for path in MANIFESTS.glob("*.yaml") if path.name != "kustomization.yaml")

# The variables that Packit's playbook passes to its templates.
PACKIT = {
    "auto_import_images": "true",
    "deployment": "prod",
    "image_busmon": "quay.io/packit/busmon:prod",
    "managed_platform": False,
    "project": "packit",
    "redis_hostname": "valkey",
}
MANAGED = {
    "managed_platform": True,
    "appcode": "PCKT-002",
    "costcenter": "700",
    "servicephase": "lab",
}

Manifest = dict[str, Any]


def load(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text()))


def render(**variables: Any) -> list[Manifest]:
    """Return the manifests of Packit's template, as its playbook renders them."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((MANIFESTS / "busmon.yml.j2").read_text())
    return list(yaml.safe_load_all(template.render(PACKIT | variables)))


VARIANTS = {
    **{path.stem: load(path) for path in PLAIN},
    "packit": render(),
    "packit-stage": render(deployment="stg"),
    "packit-managed": render(**MANAGED),
}


def the(kind: str, manifests: list[Manifest]) -> Manifest:
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found
