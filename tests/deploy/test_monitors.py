"""The monitors for Prometheus's operator: what is scraped keeps its name over a restart."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import VARIANTS, Manifest, the
from tests.support.prometheus import promtool_targets

NAMES = {
    "action": "action",
    "sourceLabels": "source_labels",
    "regex": "regex",
    "targetLabel": "target_label",
    "replacement": "replacement",
}


def relabelled(monitor: Manifest) -> list[dict[str, Any]]:
    """Return what the operator makes of a monitor: its own labels first, then the monitor's."""
    [endpoint] = monitor["spec"].get("podMetricsEndpoints") or monitor["spec"]["endpoints"]
    operators = {
        "namespace": "__meta_kubernetes_namespace",
        "pod": "__meta_kubernetes_pod_name",
        "container": "__meta_kubernetes_pod_container_name",
    }
    return [
        *({"source_labels": [meta], "target_label": name} for name, meta in operators.items()),
        {"target_label": "endpoint", "replacement": endpoint["port"]},
        *(
            {NAMES[key]: value for key, value in relabeling.items()}
            for relabeling in endpoint["relabelings"]
        ),
    ]


@pytest.mark.parametrize("kind", ["PodMonitor", "ServiceMonitor"])
def test_a_new_pod_of_the_same_busmon_has_the_same_series(kind: str, tmp_path: Path) -> None:
    """The pods are given, the relabelling is real."""
    labels = the("Deployment", VARIANTS["deployment"])["spec"]["template"]["metadata"]["labels"]
    assert labels == {"app.kubernetes.io/name": "busmon"}
    pods: list[tuple[str, str, dict[str, str]]] = [
        ("busmon-1", "10.1.2.3", {}),
        ("busmon-2", "10.1.2.4", {}),
    ]
    instance = "__meta_kubernetes_pod_label_app_kubernetes_io_instance"
    pods.append(("second-1", "10.1.2.5", {instance: "second"}))
    stateful = "__meta_kubernetes_pod_label_statefulset_kubernetes_io_pod_name"
    pods.append(("busmon-0", "10.1.2.6", {stateful: "busmon-0"}))
    pods.append(("busmon-0", "10.1.2.7", {stateful: "busmon-0", instance: "second"}))
    job = {
        "job_name": "busmon",
        "relabel_configs": relabelled(the(kind, VARIANTS[kind.lower()])),
        "static_configs": [
            {
                "targets": [f"{address}:12876"],
                "labels": {
                    "__meta_kubernetes_namespace": "packit--prod",
                    "__meta_kubernetes_pod_name": name,
                    "__meta_kubernetes_pod_container_name": "busmon",
                    **more,
                },
            }
            for name, address, more in pods
        ],
    }
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": [job]}))
    found = {
        target["labels"]["__address__"]: {
            name: value for name, value in target["labels"].items() if not name.startswith("__")
        }
        for target in promtool_targets(config, "busmon")
    }
    series = {
        "job": "busmon",
        "namespace": "packit--prod",
        "container": "busmon",
        "endpoint": "http",
    }
    first = series | {"instance": "busmon"}
    assert found == {
        "10.1.2.3:12876": first,
        "10.1.2.4:12876": first,
        "10.1.2.5:12876": series | {"instance": "second"},
        "10.1.2.6:12876": series | {"instance": "busmon-0"},
        "10.1.2.7:12876": series | {"instance": "busmon-0"},
    }
