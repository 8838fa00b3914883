"""The dashboard *busmon and the listener as pods*: their resources, and what runs beside them."""

from board import add_panels, annotation, busmon_starts, busmons, new_dashboard, several, single
from grafana_foundation_sdk.builders.dashboard import Row
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard
from links import dashboard
from panels import (
    GREEN,
    GREY,
    ONE_IS_WELL,
    RED,
    YELLOW,
    ZERO_IS_WELL,
    Place,
    Query,
    graph_panel,
    stat_panel,
    value_texts,
)
from pods_cluster import (
    BY_CONTAINER,
    CONTAINERS,
    MEMORY,
    MEMORY_LIMIT,
    POD,
    PODS,
    RESTARTS,
    SHARE_OF_LIMIT,
    TERMINATED,
    VOLUMES,
)
from pods_services import NODES, SERVICES
from queries import BUSMON, NAMESPACE, RATE_INTERVAL

QUANTILES = {0.5: "median", 0.99: "99th percentile"}

AT_A_GLANCE: list[Place] = [
    stat_panel(
        "busmon up",
        "Whether Prometheus can scrape busmon.",
        Query(f"max(up{{{BUSMON}}})", "busmon"),
        steps=ONE_IS_WELL,
        span=5,
    )
    .mappings([value_texts({"0": ("no", RED), "1": ("yes", GREEN)})])
    .no_value("no busmon"),
    stat_panel(
        "Containers not ready",
        "Containers of the chosen pods that are not ready.",
        Query(f"sum(1 - kube_pod_container_status_ready{{{POD}}})", "not ready"),
        steps=ZERO_IS_WELL,
        span=5,
    ),
    stat_panel(
        "Restarts",
        "Restarts of containers in the time range shown.",
        Query(f"round(sum(increase({RESTARTS}[$__range])))", "restarts"),
        steps=[(None, GREY), (0, GREEN), (1, YELLOW), (5, RED)],
        span=5,
    ),
    stat_panel(
        "Memory, share of the limit",
        "Of the container that is nearest to its limit. At the limit it is killed.",
        Query(f"max({MEMORY} / {MEMORY_LIMIT})", "memory"),
        steps=SHARE_OF_LIMIT,
        span=5,
    ).unit(units.PercentUnit),
    stat_panel(
        "Redis and PostgreSQL",
        "Whether their exporters can reach them.",
        Query(f"min(redis_up{{{NAMESPACE}}})", "Redis"),
        Query(f"min(pg_up{{{NAMESPACE}}})", "PostgreSQL"),
        steps=ONE_IS_WELL,
        span=4,
    ).mappings([value_texts({"0": ("down", RED), "1": ("up", GREEN)})]),
]

PROCESS: list[Place] = [
    Row("busmon's process"),
    graph_panel(
        "CPU of busmon",
        "CPU time a second.",
        Query(f"rate(process_cpu_seconds_total{{{BUSMON}}}{RATE_INTERVAL})", "{{instance}}"),
        span=6,
    ).unit(units.PercentUnit),
    graph_panel(
        "Memory of busmon",
        "Resident memory. 60 to 80 MiB are usual.",
        Query(f"process_resident_memory_bytes{{{BUSMON}}}", "{{instance}}"),
        span=6,
    ).unit(units.BytesIEC),
    graph_panel(
        "File descriptors",
        "Open file descriptors, as a share of the maximum.",
        Query(
            f"process_open_fds{{{BUSMON}}} / process_max_fds{{{BUSMON}}}",
            "{{instance}}: descriptors",
        ),
        span=6,
    ).unit(units.PercentUnit),
    graph_panel(
        "Threads of busmon",
        "One for each bus, each observer and each task of busmon itself, and those of the web"
        " server.",
        Query(f"process_threads{{{BUSMON}}}", "{{instance}}"),
        span=6,
    ),
    graph_panel(
        "Ledger size",
        "Disk space of the ledger, and its `size_limit`. Above it the oldest messages are deleted"
        " early.",
        Query(f"busmon_ledger_size_bytes{{{BUSMON}}}", "{{instance}}"),
        Query(f"max(busmon_ledger_size_limit_bytes{{{BUSMON}}})", "limit"),
        span=8,
    ).unit(units.BytesIEC),
    graph_panel(
        "Time to write a batch",
        "Until it is on disk. Only then its messages are acknowledged.",
        *(
            Query(
                f"histogram_quantile({quantile}, sum by (le) (rate("
                f"busmon_commit_duration_seconds_bucket{{{BUSMON}}}{RATE_INTERVAL})))",
                name,
            )
            for quantile, name in QUANTILES.items()
        ),
        span=8,
    ).unit(units.Seconds),
    graph_panel(
        "Messages in a batch",
        "On average. Batches are large during a burst, and if the disk is slow.",
        Query(
            f"sum(rate(busmon_batch_messages_sum{{{BUSMON}}}{RATE_INTERVAL}))"
            f" / sum(rate(busmon_batch_messages_count{{{BUSMON}}}{RATE_INTERVAL}))",
            "messages",
        ),
        span=8,
    ),
]

ANNOTATIONS = [
    busmon_starts(),
    annotation(
        "Restart of a container",
        f"{BY_CONTAINER} (increase({RESTARTS}{RATE_INTERVAL})) > 0",
        "{{pod}} {{container}} restarted",
        "red",
    ),
    annotation(
        "Out-of-memory kill",
        f'{BY_CONTAINER} ({TERMINATED}{{{POD},reason="OOMKilled"}}) > 0',
        "{{pod}} {{container}}: OOMKilled",
        "orange",
    ),
]


def build() -> Dashboard:
    """Return the dashboard."""
    made = new_dashboard(
        "busmon and the listener as pods",
        "busmon-pods",
        "busmon, the listener and the workers as containers, and the services that they use.",
        [
            # Either is enough: there may be no kube-state-metrics, or no busmon in a namespace.
            single("namespace", "Namespace", '{__name__=~"kube_pod_info|busmon_build_info"}'),
            *busmons(),
            several("pod", "Pod", f"kube_pod_info{{{NAMESPACE}}}"),
            several("node", "Node", "node_load1", of="instance"),
        ],
        other=dashboard("Bus volume and gaps", "busmon-bus"),
    ).annotations(ANNOTATIONS)
    add_panels(made, [*AT_A_GLANCE, *PROCESS, *CONTAINERS, *PODS, *VOLUMES, *NODES, *SERVICES])
    return made.build()
