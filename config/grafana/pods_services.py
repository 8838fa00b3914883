"""The lower half of *busmon and the listener as pods*: nodes, Celery, Redis, PostgreSQL."""

from grafana_foundation_sdk.builders.dashboard import Row
from grafana_foundation_sdk.models import units
from panels import PER_MINUTE, RED, Place, Query, graph_panel
from queries import BUSMON, NAMESPACE, RATE_INTERVAL

PER_SECOND = "ops"
NODE = 'instance=~"$node"'
DISKS = f'{NODE},fstype!~"tmpfs|overlay|squashfs|ramfs"'  # the others are not disks
NETWORK = f'{NODE},device!="lo"'
DATABASE = f'{NAMESPACE},datname!~"|template.+"'  # without what belongs to no database

NODES: list[Place] = [
    Row("Nodes (node exporter)"),
    graph_panel(
        "CPU used",
        "The share of the time in which the CPUs were not idle.",
        Query(
            "1 - avg by (instance)"
            f' (rate(node_cpu_seconds_total{{{NODE},mode="idle"}}{RATE_INTERVAL}))',
            "{{instance}}",
        ),
        span=6,
        limits=[(0.95, RED)],
    )
    .unit(units.PercentUnit)
    .max(1),
    graph_panel(
        "Memory used",
        "The share of the memory that is not available.",
        Query(
            f"1 - node_memory_MemAvailable_bytes{{{NODE}}} / node_memory_MemTotal_bytes{{{NODE}}}",
            "{{instance}}",
        ),
        span=6,
        limits=[(0.95, RED)],
    )
    .unit(units.PercentUnit)
    .max(1),
    graph_panel(
        "Disk space used",
        "The used share of each file system.",
        Query(
            f"1 - node_filesystem_avail_bytes{{{DISKS}}} / node_filesystem_size_bytes{{{DISKS}}}",
            "{{instance}} {{mountpoint}}",
        ),
        span=6,
        limits=[(0.9, RED)],
    )
    .unit(units.PercentUnit)
    .max(1),
    graph_panel(
        "Load",
        "Processes that run or wait for a CPU, averaged over a minute.",
        Query(f"node_load1{{{NODE}}}", "{{instance}}"),
        span=6,
    ),
    graph_panel(
        "Disk I/O of nodes",
        "Bytes read and written a second.",
        Query(
            f"rate(node_disk_read_bytes_total{{{NODE}}}{RATE_INTERVAL})",
            "{{instance}} {{device}} read",
        ),
        Query(
            f"rate(node_disk_written_bytes_total{{{NODE}}}{RATE_INTERVAL})",
            "{{instance}} {{device}} written",
        ),
        span=8,
    ).unit(units.BytesPerSecondIEC),
    graph_panel(
        "Disk busy",
        "The share of the time in which the disk worked on at least one request.",
        Query(
            f"rate(node_disk_io_time_seconds_total{{{NODE}}}{RATE_INTERVAL})",
            "{{instance}} {{device}}",
        ),
        span=8,
        limits=[(0.95, RED)],
    )
    .unit(units.PercentUnit)
    .max(1),
    graph_panel(
        "Network of nodes",
        "Bytes received and sent a second, without the loopback interface.",
        *(
            Query(
                f"sum by (instance) (rate(node_network_{way}_bytes_total{{{NETWORK}}}"
                f"{RATE_INTERVAL}))",
                f"{{{{instance}}}} {name}",
            )
            for way, name in {"receive": "in", "transmit": "out"}.items()
        ),
        span=8,
    ).unit(units.BytesPerSecondIEC),
]

SERVICES: list[Place] = [
    Row("Celery, Redis, PostgreSQL"),
    graph_panel(
        "Task events",
        "What happened to tasks, by the Celery events that busmon receives.",
        Query(
            "60 * sum by (event) (max by (event, task)"
            f" (rate(busmon_celery_task_events_total{{{BUSMON}}}{RATE_INTERVAL})))",
            "{{event}}",
        ),
    ).unit(PER_MINUTE),
    graph_panel(
        "Received tasks by worker",
        "By Flower.",
        Query(
            "60 * sum by (worker)"
            f' (rate(flower_events_total{{{NAMESPACE},type="task-received"}}{RATE_INTERVAL}))',
            "{{worker}}",
        ),
    ).unit(PER_MINUTE),
    graph_panel(
        "Redis: memory",
        "Used memory, and the maximum, if one is set.",
        Query(f"redis_memory_used_bytes{{{NAMESPACE}}}", "{{instance}} used"),
        Query(f"redis_memory_max_bytes{{{NAMESPACE}}} > 0", "{{instance}} maximum"),
        span=8,
    ).unit(units.BytesIEC),
    graph_panel(
        "Redis: commands",
        "Processed commands a second.",
        Query(
            f"rate(redis_commands_processed_total{{{NAMESPACE}}}{RATE_INTERVAL})", "{{instance}}"
        ),
        span=8,
    ).unit(PER_SECOND),
    graph_panel(
        "Redis: clients",
        "Connected clients, and those that wait for a task.",
        Query(f"redis_connected_clients{{{NAMESPACE}}}", "{{instance}} connected"),
        Query(f"redis_blocked_clients{{{NAMESPACE}}}", "{{instance}} waiting"),
        span=8,
    ),
    graph_panel(
        "PostgreSQL: transactions",
        "Transactions a second, committed and rolled back.",
        Query(
            f"sum by (datname) (rate(pg_stat_database_xact_commit{{{DATABASE}}}{RATE_INTERVAL}))",
            "{{datname}} committed",
        ),
        Query(
            f"sum by (datname) (rate(pg_stat_database_xact_rollback{{{DATABASE}}}{RATE_INTERVAL}))",
            "{{datname}} rolled back",
        ),
        span=8,
    ).unit(PER_SECOND),
    graph_panel(
        "PostgreSQL: connections",
        "Connections by state, and the maximum.",
        Query(f"sum by (state) (pg_stat_activity_count{{{NAMESPACE}}})", "{{state}}"),
        Query(f"max(pg_settings_max_connections{{{NAMESPACE}}})", "maximum"),
        span=8,
    ),
    graph_panel(
        "PostgreSQL: size",
        "Disk space of each database.",
        Query(f"max by (datname) (pg_database_size_bytes{{{DATABASE}}})", "{{datname}}"),
        span=8,
    ).unit(units.BytesIEC),
]
