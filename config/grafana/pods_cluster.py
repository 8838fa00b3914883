"""The middle of *busmon and the listener as pods*: containers, pods and their volumes."""

from grafana_foundation_sdk.builders.dashboard import Row
from grafana_foundation_sdk.models import units
from panels import (
    GREEN,
    GREY,
    RED,
    YELLOW,
    Column,
    Place,
    Query,
    graph_panel,
    table_panel,
)
from queries import NAMESPACE, RATE_INTERVAL

CORES = "suffix:cores"
POD = f'{NAMESPACE},pod=~"$pod"'
# cAdvisor also has the sum of the pod (no name) and its pause container ("POD").
CONTAINER = f'{POD},container!="",container!="POD"'
BY_CONTAINER = "sum by (pod, container)"
BY_VOLUME = "max by (namespace, persistentvolumeclaim)"
NAME = "{{pod}} {{container}}"
SHARE_OF_LIMIT = [(None, GREY), (0, GREEN), (0.8, YELLOW), (0.95, RED)]


def by_container(metric: str) -> str:
    """Return the sum of cAdvisor's gauge for each container."""
    return f"{BY_CONTAINER} ({metric}{{{CONTAINER}}})"


def per_second(metric: str, matchers: str = CONTAINER, by: str = BY_CONTAINER) -> str:
    """Return the increase of cAdvisor's counter a second."""
    return f"{by} (rate({metric}{{{matchers}}}{RATE_INTERVAL}))"


def configured(what: str, resource: str) -> str:
    """Return the requests or limits of each container, by kube-state-metrics."""
    matchers = f'{POD},resource="{resource}"'
    return f"{BY_CONTAINER} (kube_pod_container_resource_{what}{{{matchers}}})"


def volume(metric: str) -> str:
    """Return a gauge of the kubelet about each claim."""
    return f"{BY_VOLUME} (kubelet_volume_stats_{metric}{{{NAMESPACE}}})"


MEMORY = by_container("container_memory_working_set_bytes")
MEMORY_LIMIT = configured("limits", "memory")
CPU = per_second("container_cpu_usage_seconds_total")
THROTTLED = per_second("container_cpu_cfs_throttled_periods_total")
PERIODS = per_second("container_cpu_cfs_periods_total")
WAITING = f"kube_pod_container_status_waiting_reason{{{POD}}}"
TERMINATED = "kube_pod_container_status_last_terminated_reason"
RESTARTS = f"kube_pod_container_status_restarts_total{{{POD}}}"

CONTAINERS: list[Place] = [
    Row("Containers (cAdvisor)"),
    graph_panel("CPU", "Used cores.", Query(CPU, NAME)).unit(CORES),
    graph_panel(
        "CPU throttling",
        "The share of scheduling periods in which the container reached its CPU limit.",
        Query(f"{THROTTLED} / {PERIODS}", NAME),
        limits=[(0.25, RED)],
    )
    .unit(units.PercentUnit)
    .max(1),
    graph_panel(
        "Memory", "The working set, to which the limit applies.", Query(MEMORY, NAME), span=8
    ).unit(units.BytesIEC),
    graph_panel(
        "Memory, share of the limit",
        "At 100 % the container is killed.",
        Query(f"{MEMORY} / {MEMORY_LIMIT}", NAME),
        span=8,
        limits=[(0.95, RED)],
    ).unit(units.PercentUnit),
    graph_panel(
        "Network",
        "Bytes received and sent a second.",
        Query(
            per_second("container_network_receive_bytes_total", POD, "sum by (pod)"), "{{pod}} in"
        ),
        Query(
            per_second("container_network_transmit_bytes_total", POD, "sum by (pod)"),
            "{{pod}} out",
        ),
        span=8,
    ).unit(units.BytesPerSecondIEC),
    graph_panel(
        "Processes",
        "Processes in each container: those of the API's web server and of Celery's workers, too.",
        Query(by_container("container_processes"), NAME),
        span=8,
    ),
    graph_panel(
        "Threads",
        "Threads of all processes in each container.",
        Query(by_container("container_threads"), NAME),
        span=8,
    ),
    graph_panel(
        "Disk I/O",
        "Bytes read and written a second, volumes included.",
        Query(per_second("container_fs_reads_bytes_total"), f"{NAME} read"),
        Query(per_second("container_fs_writes_bytes_total"), f"{NAME} written"),
        span=8,
    ).unit(units.BytesPerSecondIEC),
]

PODS: list[Place] = [
    Row("Pods (kube-state-metrics)"),
    graph_panel(
        "Phase",
        "The number of pods in each phase.",
        Query(f"sum by (phase) (kube_pod_status_phase{{{POD}}})", "{{phase}}"),
        span=8,
        stacked=True,
    ),
    graph_panel(
        "Restarts",
        "Restarts of containers since the pod was created.",
        Query(f"{BY_CONTAINER} ({RESTARTS})", NAME),
        span=8,
    ),
    graph_panel(
        "Waiting and terminated containers, by reason",
        "Containers that wait (CrashLoopBackOff, ImagePullBackOff, ...), and why containers last"
        " terminated (OOMKilled, Error, ...).",
        Query(f"sum by (pod, reason) ({WAITING}) > 0", "{{pod}} waits: {{reason}}"),
        Query(
            f"sum by (pod, reason) ({TERMINATED}{{{POD}}}) > 0", "{{pod}} terminated: {{reason}}"
        ),
        span=8,
    ),
    table_panel(
        "Requests and limits",
        "What each container uses now, and what it requests and may use at most. Without a limit"
        " the field is empty.",
        {
            "Memory, share of the limit": Column(
                f"{MEMORY} / {MEMORY_LIMIT}", units.PercentUnit, SHARE_OF_LIMIT
            ),
            "Memory requested": Column(configured("requests", "memory"), units.BytesIEC),
            "Memory limit": Column(MEMORY_LIMIT, units.BytesIEC),
            "CPU used": Column(CPU, CORES),
            "CPU requested": Column(configured("requests", "cpu"), CORES),
            "CPU limit": Column(configured("limits", "cpu"), CORES),
        },
    ),
]

VOLUMES: list[Place] = [
    Row("Volumes (kubelet)"),
    graph_panel(
        "Space used",
        "The used share of each volume, by its claim.",
        Query(f"{volume('used_bytes')} / {volume('capacity_bytes')}", "{{persistentvolumeclaim}}"),
        span=8,
        limits=[(0.9, RED)],
    )
    .unit(units.PercentUnit)
    .max(1),
    graph_panel(
        "Space available",
        "What programs can still write.",
        Query(volume("available_bytes"), "{{persistentvolumeclaim}}"),
        span=8,
    ).unit(units.BytesIEC),
    graph_panel(
        "Inodes used",
        "The used share of the inodes: without a free one, no file can be created.",
        Query(f"{volume('inodes_used')} / {volume('inodes')}", "{{persistentvolumeclaim}}"),
        span=8,
        limits=[(0.9, RED)],
    )
    .unit(units.PercentUnit)
    .max(1),
]
