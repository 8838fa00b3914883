"""What watches Packit's cluster: the manifests, and how Prometheus finds everything there.

Debian's Prometheus is built without Kubernetes, so VictoriaMetrics reads the jobs: a program of its
own that takes the same configuration. The API that it asks allows what the manifests grant.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import kubernetes_validate
import pytest
import yaml

from tests.deploy.cluster import PROD, STAGE, TOKEN, Cluster, Right, rights
from tests.deploy.manifests import (
    KUBERNETES,
    MONITORING,
    NODE_EXPORTER,
    PROJECT,
    VARIANTS,
    Manifest,
    the,
)
from tests.support.brokers import Server, accepts, free_port, wait_until
from tests.support.brokers.certificates import Certificates

JOBS = PROJECT / "config/prometheus/prometheus-kubernetes.yml"
OTHER = "api.other.example.com:6443"


def with_node_exporter() -> Manifest:
    """Return busmon's Deployment with the sidecar, as kustomize makes it."""
    made = deepcopy(the("Deployment", VARIANTS["deployment"]))
    made["spec"]["template"]["spec"]["containers"].append(NODE_EXPORTER)
    return made


ALL = {**MONITORING, "node-exporter": [with_node_exporter()]}


@pytest.mark.parametrize("manifests", ALL.values(), ids=ALL)
def test_every_manifest_fits_its_schema(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        for version in KUBERNETES:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("name", ["kube-state-metrics", "node-exporter"])
def test_a_pod_has_bounds_and_may_do_nothing(name: str) -> None:
    pod = the("Deployment", ALL[name])["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    for container in pod["containers"]:
        assert container["resources"].keys() == {"requests", "limits"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_kube_state_metrics_may_read_what_it_is_told_to_watch() -> None:
    manifests = MONITORING["kube-state-metrics"]
    [rule] = the("Role", manifests)["rules"]
    pod = the("Deployment", manifests)["spec"]["template"]
    [container] = pod["spec"]["containers"]
    assert container["args"] == [
        "--namespaces=$(NAMESPACE)",
        f"--resources={','.join(rule['resources'])}",
    ]
    assert [variable["name"] for variable in container["env"]] == ["NAMESPACE"]
    assert rule["verbs"] == ["list", "watch"]
    binding = the("RoleBinding", manifests)
    account = the("ServiceAccount", manifests)["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account}]
    assert binding["roleRef"]["name"] == the("Role", manifests)["metadata"]["name"]
    assert pod["spec"]["serviceAccountName"] == account


@pytest.fixture(scope="module")
def cluster(certificates: Certificates) -> Iterator[Cluster]:
    with Cluster(certificates).serving() as cluster:
        yield cluster


def jobs(cluster: Cluster, certificates: Certificates, token: Path) -> dict[str, Any]:
    """Return the example, with the cluster's address and files of this machine."""
    config = yaml.safe_load(JOBS.read_text().replace(OTHER, f"localhost:{cluster.port}"))
    login = {
        "authorization": {"credentials_file": str(token)},
        "tls_config": {"ca_file": str(certificates.ca)},
    }
    for job in config["scrape_configs"]:
        here = "authorization" in job  # the other targets do not exist
        job |= {"scrape_interval": "1s", **login} if here else {"scrape_interval": "1h"}
        for discovery in job["kubernetes_sd_configs"]:
            discovery |= login | {"api_server": f"https://localhost:{cluster.port}"}
    return dict(config)


@pytest.fixture(scope="module")
def scraper(
    cluster: Cluster, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """VictoriaMetrics with the jobs; the URL of its API."""
    directory = tmp_path_factory.mktemp("discovery")
    token, config = directory / "token", directory / "prometheus.json"
    port = free_port()
    token.write_text(TOKEN)
    config.write_text(json.dumps(jobs(cluster, certificates, token)))  # which is YAML, too
    server = Server(
        [
            "victoria-metrics",
            f"-httpListenAddr=127.0.0.1:{port}",
            f"-promscrape.config={config}",
            f"-storageDataPath={directory / 'data'}",
            "-memory.allowedBytes=64MiB",
            "-search.latencyOffset=0s",  # a query finds what was just scraped
        ],
        directory / "victoria-metrics.log",
        ready=lambda _: accepts(port),
    )
    with server:
        yield f"http://127.0.0.1:{port}/api/v1"


def ask(url: str, **parameters: str) -> Any:
    with urlopen(f"{url}?{urlencode(parameters)}", timeout=10) as answer:
        return json.load(answer)["data"]


def test_every_role_finds_what_it_should_and_nothing_else(scraper: str, cluster: Cluster) -> None:
    node = f"https://127.0.0.1:{cluster.port}"
    proxy = f"https://localhost:{cluster.port}/api/v1/namespaces/{PROD}/pods/busmon-1:12876/proxy"
    exporter = {"namespace": PROD, "pod": "busmon-1", "instance": "node-1"}
    busmon = {"job": "busmon", "instance": "busmon"}
    expected = [
        ("http://127.0.0.11:12876/metrics", {**busmon, "namespace": PROD}),
        ("http://127.0.0.13:12876/metrics", {**busmon, "namespace": STAGE}),
        ("http://127.0.0.11:9100/metrics", {**exporter, "job": "node-exporter"}),
        *(
            (
                f"http://{name}.{PROD}.svc:{port}/metrics",
                {"job": "packit-services", "namespace": PROD, "instance": name},
            )
            for name, port in {"pushgateway": 80, "flower": 5555}.items()
        ),
        (
            "http://127.0.0.12:8080/metrics",
            {"job": "packit-exporters", "namespace": PROD, "instance": "kube-state-metrics"},
        ),
        (f"{node}/metrics", {"job": "kubelet", "instance": "node-1"}),
        (f"{node}/metrics/cadvisor", {"job": "cadvisor", "instance": "node-1"}),
        (f"{proxy}/metrics", {**busmon, "namespace": PROD}),
    ]

    def found() -> list[tuple[str, dict[str, str]]]:
        targets = ask(f"{scraper}/targets", state="active")["activeTargets"]
        return [(target["scrapeUrl"], target["labels"]) for target in targets]

    wait_until(lambda: len(found()) >= len(expected), what="the targets")
    assert sorted(found(), key=str) == sorted(expected, key=str)


@pytest.mark.usefixtures("scraper")
def test_what_the_manifests_grant_is_what_is_needed(cluster: Cluster) -> None:
    """One cluster plays both, and only one namespace of it is also scraped as the other one."""
    needed = rights() - {Right(STAGE, "get", "pods/proxy")}
    wait_until(lambda: cluster.used >= needed, what=f"use of {needed}")
    assert cluster.used == needed


def test_kubelets_are_scraped_for_packit_and_busmon_through_the_api(scraper: str) -> None:
    def answered(query: str) -> list[dict[str, Any]]:
        found = ask(f"{scraper}/query", query=query)["result"]
        return [series["metric"] for series in found]

    for job in "kubelet", "cadvisor":
        query = f'count by (namespace) ({{job="{job}",__name__!~"up|scrape_.*"}})'
        assert wait_until(partial(answered, query), what=job) == [{"namespace": PROD}]
    build = "busmon_build_info"
    assert wait_until(partial(answered, build), what="the API's proxy") == [
        {"__name__": build, "job": "busmon", "instance": "busmon", "namespace": PROD}
    ]
