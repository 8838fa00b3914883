"""Prometheus's rules and jobs, checked by promtool."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from busmon.cli.main import main
from busmon.settings.models import Web
from tests.deploy.counters_by_topic import METRICS, increases, of_other_topics
from tests.deploy.manifests import VARIANTS, the
from tests.support.brokers.certificates import Certificates
from tests.support.prometheus import promtool_targets

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
PROMETHEUS = PROJECT / "config/prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
UNIT_TESTS = sorted(HERE.glob("rules_*.yml"))
RUNBOOK = PROMETHEUS.joinpath("RUNBOOK.md").read_text()


def run(*command: str | Path) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def without_texts(expr: str) -> str:
    """Return the expression without texts and ranges."""
    return re.sub(r'"[^"]*"|\[[^]]*\]', "", expr)


ALERTS = [rule for rule in rules() if "alert" in rule]


def severity(alert: dict[str, Any]) -> str:
    """Return the severity in a namespace that is not staging."""
    text: str = alert["labels"]["severity"]
    staging = re.fullmatch(r"\{\{ if match .* \}\}warning\{\{ else \}\}(\w+)\{\{ end \}\}", text)
    return staging[1] if staging else text


def named(alert: dict[str, Any]) -> str:
    return "-".join(filter(None, (alert["alert"], severity(alert), alert["labels"].get("variant"))))


def with_summaries_only(unit_test: Path, folder: Path) -> Path:
    """Return a copy of promtool's test whose rules have no other annotation.

    So the scenarios say when an alert fires and what it is about; `test_alert_texts` has the rest.
    """
    text = unit_test.read_text()
    for name in yaml.safe_load(text)["rule_files"]:
        file = HERE / name
        rules = yaml.safe_load(file.read_text())
        for rule in (rule for group in rules["groups"] for rule in group["rules"]):
            if "alert" in rule:
                rule["annotations"] = {"summary": rule["annotations"]["summary"]}
        (folder / file.name).write_text(yaml.safe_dump(rules))
        text = text.replace(name, file.name)
    copy = folder / unit_test.name
    copy.write_text(text)
    return copy


def test_the_rules_are_built_from_the_python_files(tmp_path: Path) -> None:
    """If this fails, run `make rules`."""
    run(sys.executable, PROMETHEUS / "build.py", "--output", tmp_path)
    checked_in = [*RULES, PROJECT / "config/openshift/prometheusrule.yaml"]
    built = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert built == {path.name: path.read_text() for path in checked_in}


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_promtool_finds_nothing_wrong_with_the_rules(path: Path) -> None:
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", path)


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_no_other_time(path: Path, tmp_path: Path) -> None:
    run("promtool", "test", "rules", with_summaries_only(path, tmp_path))


def test_each_alert_is_tested_both_firing_and_not_firing() -> None:
    """And firing with each severity and variant that it has."""
    firing: set[tuple[str, str, str | None]] = set()
    quiet: set[str] = set()
    for path in UNIT_TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                for labels in (one["exp_labels"] for one in case.get("exp_alerts") or ()):
                    firing.add((case["alertname"], labels["severity"], labels.get("variant")))
                if not case.get("exp_alerts"):
                    quiet.add(case["alertname"])
    rules = {(of["alert"], severity(of), of["labels"].get("variant")) for of in ALERTS}
    assert firing == rules
    assert quiet == {alert["alert"] for alert in ALERTS} - {"Watchdog"}


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_each_alert_has_a_severity_and_an_entry_in_the_runbook(alert: dict[str, Any]) -> None:
    assert severity(alert) in {"critical", "warning", "none"}
    assert alert["labels"]["service"] == "busmon"
    url, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert url.endswith("/config/prometheus/RUNBOOK.md")
    assert anchor == alert["alert"].lower()
    assert f"\n## {alert['alert']}\n\n" in RUNBOOK


def test_the_runbook_has_a_section_for_each_alert_with_a_first_command() -> None:
    _, *sections = re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)
    names = [section.split("\n")[0] for section in sections]
    assert sorted(names) == sorted({alert["alert"] for alert in ALERTS})
    for section in sections:
        parts = re.findall(r"^- \*\*(.+?)\*\*", section, re.MULTILINE)
        assert parts == ["Meaning.", "Look first.", "Do.", "Ends"], section
        command = re.match(r".+\n\n```console\n\$ (.+)\n```\n\n- ", section)
        assert command, section
        if busmon := re.match("oc exec deploy/busmon -- busmon (.+)", command[1]):
            assert busmon[1] in main.commands


def test_the_rules_use_documented_metrics_only() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    table = {
        name for name in re.findall(r"^\| `(\w+)", METRICS.read_text(), re.MULTILINE) if "_" in name
    }
    others = {"events_processed_total", "github_webhook_calls_total"}  # Packit's
    for rule in rules():
        expr = without_texts(rule["expr"])
        assert set(re.findall(r"[a-z_]+(?::\w+)+", expr)) <= recorded
        plain = set(re.findall(r"(?<![\w:])(?:busmon|process|events|github)_\w+(?![\w:])", expr))
        assert {name.removesuffix("_bucket") for name in plain} <= table | others


def test_no_rule_takes_the_increase_of_the_topic_that_stands_for_others() -> None:
    exprs = [rule["expr"] for rule in rules()]
    assert increases(exprs)
    assert of_other_topics(exprs) == []


def test_each_recorded_series_is_used_by_an_alert_or_another_rule() -> None:
    """The dashboards read the metrics."""
    for recording in (rule for rule in rules() if "record" in rule):
        others = [of for of in rules() if of.get("record") != recording["record"]]
        assert any(recording["record"] in str(of) for of in others), recording["record"]


def test_recorded_series_are_named_level_metric_operations() -> None:
    for rule in rules():
        assert "alert" in rule or re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", rule["record"])


@pytest.fixture
def prometheus(tmp_path: Path, certificates: Certificates) -> Path:
    """Return the example configuration, with the files that it names."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("token", "packit-token"):
        secrets.joinpath(name).write_text("token")
    secrets.joinpath("ca.pem").write_bytes(Path(certificates.ca).read_bytes())
    (tmp_path / "rules").symlink_to(PROMETHEUS / "rules")
    config = tmp_path / "prometheus.yml"
    config.write_text(PROMETHEUS.joinpath("prometheus.yml").read_text())
    return config


def test_promtool_accepts_the_example_and_the_files_it_names(prometheus: Path) -> None:
    found = re.findall(r"(\d+) rules found", run("promtool", "check", "config", prometheus))
    assert sum(map(int, found)) == len(rules())


def test_prometheus_scrapes_busmons_default_address(prometheus: Path) -> None:
    jobs = {
        job["job_name"]: job for job in yaml.safe_load(prometheus.read_text())["scrape_configs"]
    }
    port = Web().listen.rpartition(":")[2]
    assert jobs["busmon"]["static_configs"] == [{"targets": [f"localhost:{port}"]}]


def kubernetes_jobs() -> list[dict[str, Any]]:
    """Return the jobs of the example, without their discovery, which Debian's promtool refuses."""
    config = yaml.safe_load(PROMETHEUS.joinpath("prometheus-kubernetes.yml").read_text())
    jobs: list[dict[str, Any]] = config["scrape_configs"]
    roles = {job.pop("kubernetes_sd_configs")[0]["role"] for job in jobs}
    assert roles == {"pod", "service", "endpoints", "node"}
    return jobs


def test_packits_gateway_is_compared_with_the_busmon_of_its_namespace() -> None:
    """In both examples its job is the one that the alert looks for, and it has a namespace."""
    [alert] = [
        rule
        for rule in ALERTS
        if rule["alert"] == "BusmonEventsNotProcessed" and severity(rule) == "critical"
    ]
    [job] = re.findall(r'__name__="up",.*?job=~"(.+?)"', alert["expr"])
    outside = yaml.safe_load(PROMETHEUS.joinpath("prometheus.yml").read_text())["scrape_configs"]
    [plain] = [of for of in outside if re.fullmatch(job, of["job_name"])]
    assert plain["static_configs"][0]["labels"] == {"namespace": "packit--prod"}
    [inside] = [of for of in kubernetes_jobs() if re.fullmatch(job, of["job_name"])]
    assert "namespace" in {of.get("target_label") for of in inside["relabel_configs"]}


def test_promtool_accepts_the_jobs_for_kubernetes_but_for_their_discovery(tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": kubernetes_jobs()}))
    run("promtool", "check", "config", "--syntax-only", config)


def discovered(manifests: str, namespace: str) -> dict[str, str]:
    """Return a pod of these manifests, as Prometheus discovers it."""
    pod = the("Deployment", VARIANTS[manifests])["spec"]["template"]["metadata"]
    return {
        "__address__": "10.1.2.3:8080",
        "__meta_kubernetes_namespace": namespace,
        "__meta_kubernetes_pod_container_name": "busmon",
        **{
            re.sub(r"\W", "_", f"__meta_kubernetes_pod_{kind}_{name}"): value
            for kind in ("label", "annotation")
            for name, value in pod[f"{kind}s"].items()
        },
    }


def test_pods_of_busmon_are_scraped_as_their_annotations_say(tmp_path: Path) -> None:
    """The pods are given, the relabelling is real."""
    job = next(job for job in kubernetes_jobs() if job["job_name"] == "busmon-pods")
    annotation = "__meta_kubernetes_pod_annotation_prometheus_io"
    plain = [discovered(name, name) for name in ("deployment", "sidecar")]
    own = plain[0] | {
        "__meta_kubernetes_namespace": "own",
        "__meta_kubernetes_pod_label_app_kubernetes_io_instance": "second",
        f"{annotation}_path": "/own",
        f"{annotation}_scheme": "https",
    }
    others = [
        plain[0] | {"__meta_kubernetes_pod_label_app_kubernetes_io_name": "worker"},
        plain[0] | {f"{annotation}_scrape": "false"},
        plain[0] | {"__meta_kubernetes_pod_container_name": "node-exporter"},
    ]
    job["static_configs"] = [
        {"targets": [pod["__address__"]], "labels": pod} for pod in (*plain, own, *others)
    ]
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": [job]}))
    found = promtool_targets(config, "busmon-pods")
    labels = [target["labels"] for target in found if target.get("labels")]
    scraped = [{name: of[name] for name in of if not name.startswith("__scrape_")} for of in labels]
    assert sorted(scraped, key=lambda of: of["namespace"]) == [
        {
            "__address__": "10.1.2.3:12876",
            "__metrics_path__": path,
            "__scheme__": scheme,
            "instance": instance,
            "job": "busmon",
            "namespace": namespace,
        }
        for namespace, instance, scheme, path in (
            ("deployment", "busmon", "http", "/metrics"),
            ("own", "second", "https", "/own"),
            ("sidecar", "busmon", "http", "/metrics"),
        )
    ]


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_the_rule_tests_evaluate_what_they_need_recording_first(path: Path) -> None:
    """And nothing else, because each group is evaluated at each step."""
    unit_test = yaml.safe_load(path.read_text())
    files = [(HERE / name).resolve() for name in unit_test["rule_files"]]
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    assert unit_test["group_eval_order"] == [group["name"] for group in groups]
    recorded: set[str] = set()
    for rule in (rule for group in groups for rule in group["rules"]):
        used = set(re.findall(r"[a-z_]+(?::\w+)+", without_texts(rule["expr"])))
        recorded.add(rule.get("record", ""))
        assert used <= recorded, f"{rule}: not yet recorded"
    alerts = {rule.get("alert") for group in groups for rule in group["rules"]}
    cases = [case for test in unit_test["tests"] for case in test.get("alert_rule_test", [])]
    assert {case["alertname"] for case in cases} <= alerts
