"""The dashboard *busmon and the listener as pods*: what they run on, and what runs beside them."""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard
from panels import (
    GREEN,
    GREY,
    NAMESPACE,
    RATE,
    RED,
    YELLOW,
    Query,
    annotation,
    board,
    graph,
    row,
    summary,
    variable,
)
from pods_beside import NODES, SERVICES

POD = f'{NAMESPACE},pod=~"$pod"'
CONTAINER = f'{POD},container!="",container!="POD"'  # cAdvisor has the pod's sum and its pause, too
BY = "sum by (pod, container)"
OURS = "and on (job, instance) busmon_build_info"  # every Python process has these metrics
OF_LIMIT = [(None, GREY), (0, GREEN), (0.8, YELLOW), (0.95, RED)]

MEMORY = f"{BY} (container_memory_working_set_bytes{{{CONTAINER}}})"
CPU = f"{BY} (rate(container_cpu_usage_seconds_total{{{CONTAINER}}}{RATE}))"


def limit(resource: str) -> str:
    """Return the limits of the containers."""
    return f'{BY} (kube_pod_container_resource_limits{{{POD},resource="{resource}"}})'


AT_A_GLANCE = [
    summary(
        "busmon up",
        "Whether Prometheus reaches busmon.",
        Query(f"max(up{{{NAMESPACE}}} {OURS})", "busmon"),
        steps=[(None, RED), (1, GREEN)],
        words={"0": ("no", RED), "1": ("yes", GREEN)},
        span=4,
        none="no busmon",
    ),
    summary(
        "Containers not ready",
        "Containers of the chosen pods that are not ready.",
        Query(f"sum(1 - kube_pod_container_status_ready{{{POD}}})", "not ready"),
        steps=[(None, GREY), (0, GREEN), (1, RED)],
        span=4,
    ),
    summary(
        "Restarts",
        "Of containers, in the time shown.",
        Query(
            f"round(sum(increase(kube_pod_container_status_restarts_total{{{POD}}}[$__range])))",
            "restarts",
        ),
        steps=[(None, GREY), (0, GREEN), (1, YELLOW), (5, RED)],
        span=4,
    ),
    summary(
        "Memory, of the limit",
        "The container nearest to its limit, at which it is killed.",
        Query(f"max({MEMORY} / {limit('memory')})", "memory"),
        steps=OF_LIMIT,
        unit=units.PercentUnit,
        span=4,
    ),
    summary(
        "Tasks waiting",
        "In the workers' queues, by busmon's look at Celery's broker.",
        Query(f"sum(max by (queue) (busmon_celery_queue_tasks{{{NAMESPACE}}}))", "tasks"),
        steps=[(None, GREY), (0, GREEN), (100, YELLOW), (1000, RED)],
        span=4,
        none="not watched",
    ),
    summary(
        "Redis and PostgreSQL",
        "Whether their exporters reach them.",
        Query(f"min(redis_up{{{NAMESPACE}}})", "Redis"),
        Query(f"min(pg_up{{{NAMESPACE}}})", "PostgreSQL"),
        steps=[(None, RED), (1, GREEN)],
        words={"0": ("down", RED), "1": ("up", GREEN)},
        span=4,
    ),
]

PROCESS = [
    row("busmon's process"),
    graph(
        "CPU",
        "CPU time a second.",
        Query(f"rate(process_cpu_seconds_total{{{NAMESPACE}}}{RATE}) {OURS}", "{{instance}}"),
        unit=units.PercentUnit,
        span=6,
    ),
    graph(
        "Memory",
        "Resident memory. Some 75 MB are usual.",
        Query(f"process_resident_memory_bytes{{{NAMESPACE}}} {OURS}", "{{instance}}"),
        unit=units.BytesIEC,
        span=6,
    ),
    graph(
        "File descriptors",
        "Open ones as a part of those allowed, and threads.",
        Query(
            f"process_open_fds{{{NAMESPACE}}} / process_max_fds {OURS}", "{{instance}}: descriptors"
        ),
        unit=units.PercentUnit,
        span=6,
    ),
    graph(
        "Threads",
        "One for each bus and observer, and those of the web server.",
        Query(f"process_threads{{{NAMESPACE}}} {OURS}", "{{instance}}"),
        span=6,
    ),
    graph(
        "Ledger",
        "Disk space of the ledger, and its `size_limit`, above which old messages go first.",
        Query(f"busmon_ledger_size_bytes{{{NAMESPACE}}}", "{{instance}}"),
        Query(f"max(busmon_ledger_size_limit_bytes{{{NAMESPACE}}})", "limit"),
        unit=units.BytesIEC,
        span=8,
    ),
    graph(
        "Time to write a batch",
        "Until it is on disk; only then messages are acknowledged.",
        *(
            Query(
                f"histogram_quantile({quantile}, sum by (le) (rate("
                f"busmon_commit_duration_seconds_bucket{{{NAMESPACE}}}{RATE})))",
                words,
            )
            for quantile, words in ((0.5, "half"), (0.99, "99 of 100"))
        ),
        unit=units.Seconds,
        span=8,
    ),
    graph(
        "Messages a batch",
        "On average. Large batches tell of a burst, or of a slow disk.",
        Query(
            f"sum(rate(busmon_batch_messages_sum{{{NAMESPACE}}}{RATE}))"
            f" / sum(rate(busmon_batch_messages_count{{{NAMESPACE}}}{RATE}))",
            "messages",
        ),
        span=8,
    ),
]

CONTAINERS = [
    row("Containers (cAdvisor)"),
    graph("CPU", "In cores.", Query(CPU, "{{pod}} {{container}}"), unit="suffix: cores"),
    graph(
        "CPU, held back",
        "The part of the periods in which the container wanted more than its limit.",
        Query(
            f"{BY} (rate(container_cpu_cfs_throttled_periods_total{{{CONTAINER}}}{RATE}))"
            f" / {BY} (rate(container_cpu_cfs_periods_total{{{CONTAINER}}}{RATE}))",
            "{{pod}} {{container}}",
        ),
        unit=units.PercentUnit,
        limit=0.25,
        most=1,
    ),
    graph(
        "Memory",
        "The working set, which counts for the limit.",
        Query(MEMORY, "{{pod}} {{container}}"),
        unit=units.BytesIEC,
        span=8,
    ),
    graph(
        "Memory, of the limit",
        "At 100 % the container is killed.",
        Query(f"{MEMORY} / {limit('memory')}", "{{pod}} {{container}}"),
        unit=units.PercentUnit,
        span=8,
        limit=0.95,
    ),
    graph(
        "Network",
        "Bytes received and sent a second.",
        Query(
            f"sum by (pod) (rate(container_network_receive_bytes_total{{{POD}}}{RATE}))",
            "{{pod}} in",
        ),
        Query(
            f"sum by (pod) (rate(container_network_transmit_bytes_total{{{POD}}}{RATE}))",
            "{{pod}} out",
        ),
        unit=units.BytesPerSecondIEC,
        span=8,
    ),
]

PODS = [
    row("Pods (kube-state-metrics)"),
    graph(
        "Phase",
        "Pods in each phase.",
        Query(f"sum by (phase) (kube_pod_status_phase{{{POD}}})", "{{phase}}"),
        span=8,
        stacked=True,
    ),
    graph(
        "Restarts",
        "Since the pod was made.",
        Query(f"{BY} (kube_pod_container_status_restarts_total{{{POD}}})", "{{pod}} {{container}}"),
        span=8,
    ),
    graph(
        "Waiting or ended, and why",
        "Containers that wait (CrashLoopBackOff, ImagePullBackOff, ...), and the reason of the"
        " last end (OOMKilled, Error, ...).",
        Query(
            f"sum by (pod, reason) (kube_pod_container_status_waiting_reason{{{POD}}}) > 0",
            "{{pod}} waits: {{reason}}",
        ),
        Query(
            f"sum by (pod, reason) (kube_pod_container_status_last_terminated_reason{{{POD}}}) > 0",
            "{{pod}} ended: {{reason}}",
        ),
        span=8,
    ),
]

ANNOTATIONS = [
    annotation(
        "Restart of a container",
        f"{BY} (increase(kube_pod_container_status_restarts_total{{{POD}}}{RATE})) > 0",
        "{{pod}} {{container}} restarted",
        "red",
    ),
    annotation(
        "Killed for its memory",
        f'{BY} (kube_pod_container_status_last_terminated_reason{{{POD},reason="OOMKilled"}}) > 0',
        "{{pod}} {{container}}: OOMKilled",
        "orange",
    ),
]


def build() -> Dashboard:
    """Return the dashboard."""
    return board(
        "busmon and the listener as pods",
        "busmon-pods",
        "busmon, the listener and the workers as containers, and the services behind them.",
        [
            variable("namespace", "Namespace", "kube_pod_info"),
            variable("pod", "Pod", f"kube_pod_info{{{NAMESPACE}}}"),
        ],
        [*AT_A_GLANCE, *PROCESS, *CONTAINERS, *PODS, *NODES, *SERVICES],
        ANNOTATIONS,
    )
