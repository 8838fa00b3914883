"""The manifests for OpenShift and Kubernetes, against the schemas of their readers."""

import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy.manifests import (
    KUBERNETES,
    MANIFESTS,
    PLAIN,
    PROJECT,
    VARIANTS,
    Manifest,
    documented,
    load,
    render,
    the,
    workload,
)
from tests.support.brokers.certificates import Certificates
from tests.support.command import busmon

RULES = PROJECT / "config/prometheus/rules"


def closed(**properties: Any) -> Manifest:
    """Return the schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TEXT = {"type": "string"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
DURATION = {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"}
SELECTOR = closed(matchLabels=TEXTS)
RELABELING = {
    "type": "object",
    "properties": {
        "action": {"enum": ["replace", "keep", "drop", "labelmap", "labeldrop", "labelkeep"]},
        "sourceLabels": {
            "type": "array",
            "items": {"type": "string", "pattern": "^[a-zA-Z_]\\w*$"},
        },
        "regex": TEXT,
        "targetLabel": TEXT,
        "replacement": TEXT,
    },
    "additionalProperties": False,
}
ENDPOINT = {
    "type": "array",
    "items": closed(
        port=TEXT,
        path=TEXT,
        interval=DURATION,
        relabelings={"type": "array", "items": RELABELING},
    ),
}
RULE = {
    "type": "object",
    "properties": {
        "record": TEXT,
        "alert": TEXT,
        "expr": {"type": ["string", "integer"]},
        "for": DURATION,
        "keep_firing_for": DURATION,
        "labels": TEXTS,
        "annotations": TEXTS,
    },
    "required": ["expr"],
    "oneOf": [{"required": ["record"]}, {"required": ["alert"]}],
    "additionalProperties": False,
}
GROUP = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "interval": DURATION,
        "limit": {"type": "integer"},
        "rules": {"type": "array", "items": RULE},
    },
    "required": ["name", "rules"],
    "additionalProperties": False,
}
IMAGE_TAG = closed(
    **{"name": TEXT, "from": closed(kind={"const": "DockerImage"}, name=TEXT)},
    importPolicy=closed(scheduled={"type": "boolean"}),
)

# Kinds that Kubernetes itself does not have: the parts used here, after the definitions of
# Prometheus's operator and of OpenShift.
EXTENSIONS = {
    ("monitoring.coreos.com/v1", "PodMonitor"): closed(
        selector=SELECTOR, podMetricsEndpoints=ENDPOINT
    ),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): closed(selector=SELECTOR, endpoints=ENDPOINT),
    ("monitoring.coreos.com/v1", "PrometheusRule"): closed(
        groups={"type": "array", "items": GROUP}
    ),
    ("route.openshift.io/v1", "Route"): closed(
        port=closed(targetPort=TEXT),
        to=closed(kind={"const": "Service"}, name=TEXT),
        tls=closed(
            termination={"const": "edge"}, insecureEdgeTerminationPolicy={"const": "Redirect"}
        ),
    ),
    ("image.openshift.io/v1", "ImageStream"): closed(
        tags={"type": "array", "items": IMAGE_TAG},
        lookupPolicy=closed(local={"type": "boolean"}),
    ),
}


def of_kind(*kinds: str) -> list[Any]:
    return [
        pytest.param(manifest, id=name)
        for name, manifests in VARIANTS.items()
        for manifest in manifests
        if manifest["kind"] in kinds
    ]


WORKLOADS = of_kind("Deployment", "StatefulSet")


@pytest.mark.parametrize("manifests", VARIANTS.values(), ids=VARIANTS)
def test_every_manifest_fits_its_schema(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        extension = EXTENSIONS.get((manifest["apiVersion"], manifest["kind"]))
        if extension:
            described = {"apiVersion": TEXT, "kind": TEXT, "metadata": {"type": "object"}}
            jsonschema.validate(manifest, closed(**described, spec=extension))
            continue
        for version in KUBERNETES:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_the_kustomization_names_what_is_there_and_one_way_to_scrape() -> None:
    [kustomization] = load(MANIFESTS / "kustomization.yaml")
    left_out = {"secret.example.yaml", "servicemonitor.yaml", "sidecar.yaml"}
    assert {*kustomization["resources"]} == {path.name for path in PLAIN} - left_out
    [image] = kustomization["images"]
    [container] = the("Deployment", VARIANTS["deployment"])["spec"]["template"]["spec"][
        "containers"
    ]
    assert image["name"] == container["image"]


@pytest.mark.parametrize("deployment", of_kind("Deployment"))
def test_one_pod_has_a_ledger_and_closes_it_before_the_next(deployment: Manifest) -> None:
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_replicas_differ_from_the_one_pod_only_where_they_must() -> None:
    one, many = (workload(VARIANTS[name]) for name in ("deployment", "replicas"))
    pods = [deployment["spec"]["template"]["spec"] for deployment in (one, many)]
    containers = [pod["containers"][0] for pod in pods]
    assert one["metadata"] == many["metadata"]
    assert one["spec"]["template"]["metadata"] == many["spec"]["template"]["metadata"]
    assert differences(*containers) == {"env", "resources", "volumeMounts"}
    assert differences(*pods) == {"affinity", "containers", "volumes"}
    volumes = [{volume["name"] for volume in pod["volumes"]} for pod in pods]
    assert volumes[0] - volumes[1] == {"ledger"}


def differences(one: Manifest, other: Manifest) -> set[str]:
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


def test_replicas_take_the_place_of_the_one_pod_and_its_volume() -> None:
    [component] = load(MANIFESTS / "replicas/kustomization.yaml")
    there = {path.name for path in (MANIFESTS / "replicas").glob("*.yaml")}
    assert {*component["resources"]} == there - {"kustomization.yaml"}
    deleted = [yaml.safe_load(patch["patch"]) for patch in component["patches"]]
    assert all(patch["$patch"] == "delete" for patch in deleted)
    assert [(patch["kind"], patch["metadata"]) for patch in deleted] == [
        (kind, {"name": the(kind, VARIANTS[name])["metadata"]["name"]})
        for kind, name in (("Deployment", "deployment"), ("PersistentVolumeClaim", "pvc"))
    ]


@pytest.mark.parametrize("kind", ["PodDisruptionBudget", "NetworkPolicy"])
def test_what_is_about_all_replicas_selects_their_pods(kind: str) -> None:
    spec = the(kind, VARIANTS["replicas"])["spec"]
    labels = workload(VARIANTS["replicas"])["spec"]["template"]["metadata"]["labels"]
    assert (spec.get("selector") or spec["podSelector"]) == {"matchLabels": labels}


@pytest.mark.parametrize("deployment", WORKLOADS)
def test_a_pod_of_busmon_is_locked_down_and_small(deployment: Manifest) -> None:
    pod = deployment["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    [busmon] = [container for container in pod["containers"] if container["name"] == "busmon"]
    memory = "100Mi" if "ledger-url" in str(pod) else "88Mi"  # psycopg takes 9 MiB
    assert busmon["resources"] == {
        "requests": {"memory": memory, "cpu": "5m"},
        "limits": {"memory": "128Mi", "cpu": "50m"},
    }
    assert busmon["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert busmon["livenessProbe"]["httpGet"] == {"path": "/live", "port": "http"}
    assert busmon["startupProbe"]["httpGet"] == {"path": "/live", "port": "http"}


@pytest.mark.parametrize("deployment", WORKLOADS)
def test_every_mount_has_its_volume_and_the_selector_its_pods(deployment: Manifest) -> None:
    template = deployment["spec"]["template"]
    pod = template["spec"]
    containers = [*pod["containers"], *pod.get("initContainers", [])]
    mounted = {mount["name"] for c in containers for mount in c.get("volumeMounts", [])}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    selected = deployment["spec"]["selector"]["matchLabels"]
    assert selected.items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("service", of_kind("Service"))
def test_a_service_keeps_a_pod_that_is_not_ready(service: Manifest) -> None:
    """Otherwise metrics and tap reports would be lost while a broker is down."""
    assert service["spec"]["publishNotReadyAddresses"] is True


@pytest.mark.parametrize(
    "manifests", ["deployment", "packit", "packit-managed", "replicas", "sidecar"]
)
def test_services_monitors_and_network_policy_select_each_pod(manifests: str) -> None:
    pod = workload(VARIANTS[manifests])["spec"]["template"]["metadata"]["labels"]
    policy, monitor = (VARIANTS[name][0]["spec"] for name in ("networkpolicy", "podmonitor"))
    for selector in policy["podSelector"], monitor["selector"]:
        assert selector["matchLabels"].items() <= pod.items()
    services = [m for m in VARIANTS[manifests] if m["kind"] == "Service"] or VARIANTS["service"]
    selector = VARIANTS["servicemonitor"][0]["spec"]["selector"]["matchLabels"]
    for service in services:
        assert service["spec"]["selector"].items() <= pod.items()
        assert selector.items() <= service["metadata"]["labels"].items()


@pytest.mark.parametrize("config", of_kind("ConfigMap"))
def test_busmon_accepts_the_configuration(
    config: Manifest, certificates: Certificates, tmp_path: Path
) -> None:
    """With the files of the Secrets in place; test_pod.py mounts them as the manifests do."""
    certificate, key = certificates.client("busmon")
    files = {
        "reports-token": "a-token",
        "cacert.pem": certificates.ca.read_text(),
        "fedora-cert.pem": certificate.read_text(),
        "fedora-key.pem": key.read_text(),
    }
    assert files.keys() == VARIANTS["secret.example"][0]["stringData"].keys()
    files |= {"metrics-token": "another", "page-password": "a password"}
    files |= {"operator-password": "of an operator"}
    assert files.keys() == VARIANTS["packit-secret"][0]["data"].keys()
    files["ledger-url"] = "postgresql://busmon:l3dger@postgres/busmon?sslmode=disable"
    assert files.keys() == VARIANTS["packit-postgresql-secret"][0]["data"].keys()
    files["fedora.toml"] = (PROJECT / "config/fedora.toml").read_text()
    places = ("/etc/busmon", "/etc/fedora-messaging", "/run/secrets/busmon", "/home/packit/.config")
    for directory in places:
        place = tmp_path / directory.lstrip("/")
        place.mkdir(parents=True)
        for name, text in (files | (config["data"] if "etc/busmon" in directory else {})).items():
            found = re.sub(r'"(/(etc|run/secrets|home)/)', rf'"{tmp_path}\1', text)
            (place / name).write_text(found)
    done = busmon("check-config", "-c", tmp_path / "etc/busmon/busmon.toml")
    assert done.stderr == ""
    assert re.search(r"http://0\.0\.0\.0:12876", done.stdout)


@pytest.mark.parametrize(
    ("deployment", "user"), [("prod", "packit"), ("stg", "packit-stg"), ("dev", "packit")]
)
def test_packits_template_names_the_user_that_its_listener_has(deployment: str, user: str) -> None:
    config = the("ConfigMap", render(deployment=deployment))["data"]["busmon.toml"]
    assert tomllib.loads(config)["rules"]["packit"]["user"] == user


def test_the_bindings_are_those_of_the_example() -> None:
    """They are written twice, since kustomize reads no file outside its directory."""
    text = the("ConfigMap", VARIANTS["configmap"])["data"]["fedora.toml"]
    example = tomllib.loads((PROJECT / "config/fedora.toml").read_text())
    assert tomllib.loads(text)["bindings"] == example["bindings"]


def test_the_image_stream_rolls_out_the_pod() -> None:
    manifests = VARIANTS["packit"]
    deployment, stream = the("Deployment", manifests), the("ImageStream", manifests)
    [trigger] = yaml.safe_load(deployment["metadata"]["annotations"]["image.openshift.io/triggers"])
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    [tag] = stream["spec"]["tags"]
    image = f"{stream['metadata']['name']}:{tag['name']}"
    assert trigger["from"] == {"kind": "ImageStreamTag", "name": image}
    assert container["image"] == image
    assert f'@.name=="{container["name"]}"' in trigger["fieldPath"]


def test_the_document_names_what_packits_playbook_needs() -> None:
    templates = sorted(MANIFESTS.glob("*.j2"))
    [task] = yaml.safe_load(documented("yaml", "- name: Deploy busmon\n"))
    assert sorted(task["loop"]) == [template.name for template in templates]
    text = "".join(template.read_text() for template in templates)
    secrets = yaml.safe_load(documented("yaml", "busmon:\n"))["busmon"]
    assert {*re.findall(r"vault\.busmon\.(\w+)", text)} == {*secrets}
    switch = yaml.safe_load(documented("yaml", "with_busmon: false\n"))
    assert task["when"] in switch
    assert {*re.findall(r"{{ (image_\w+) }}", text)} <= switch.keys()


def test_the_route_leads_to_the_service() -> None:
    route, service = (the(kind, VARIANTS["packit"]) for kind in ("Route", "Service"))
    assert route["spec"]["to"]["name"] == service["metadata"]["name"]
    names = [port["name"] for port in service["spec"]["ports"]]
    assert route["spec"]["port"]["targetPort"] in names


def test_a_deleted_claim_of_the_managed_platform_deletes_its_volume() -> None:
    claim = the("PersistentVolumeClaim", VARIANTS["packit-managed"])
    assert claim["metadata"]["annotations"] == {"kubernetes.io/reclaimPolicy": "Delete"}


def test_only_the_managed_platform_has_its_labels() -> None:
    def labels(manifests: list[Manifest]) -> str:
        return str([manifest["metadata"] for manifest in manifests])

    assert "paas.redhat.com/appcode" in labels(VARIANTS["packit-managed"])
    assert "appcode" not in str(VARIANTS["packit"])


def test_the_prometheus_rule_is_made_from_the_rule_files() -> None:
    """If this fails, run `make rules`."""
    [manifest] = VARIANTS["prometheusrule"]
    groups = {
        group["name"]: group
        for path in RULES.glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
    }
    assert {group["name"]: group for group in manifest["spec"]["groups"]} == groups
    assert groups
