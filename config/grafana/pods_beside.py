"""The lower half of *busmon and the listener as pods*: nodes, Celery, Redis, PostgreSQL."""

from grafana_foundation_sdk.models import units
from panels import (
    NAMESPACE,
    RATE,
    Query,
    graph,
    row,
)

DISKS = 'fstype!~"tmpfs|overlay|squashfs|ramfs"'

NODES = [
    row("Nodes (node exporter)"),
    graph(
        "CPU",
        "The part that is not idle.",
        Query(
            f'1 - avg by (instance) (rate(node_cpu_seconds_total{{mode="idle"}}{RATE}))',
            "{{instance}}",
        ),
        unit=units.PercentUnit,
        span=6,
        limit=0.95,
        most=1,
    ),
    graph(
        "Memory",
        "The part that is not available.",
        Query("1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", "{{instance}}"),
        unit=units.PercentUnit,
        span=6,
        limit=0.95,
        most=1,
    ),
    graph(
        "Disks",
        "The part that is used.",
        Query(
            f"1 - node_filesystem_avail_bytes{{{DISKS}}} / node_filesystem_size_bytes{{{DISKS}}}",
            "{{instance}} {{mountpoint}}",
        ),
        unit=units.PercentUnit,
        span=6,
        limit=0.9,
        most=1,
    ),
    graph(
        "Load",
        "Processes that run or want to, on average of a minute.",
        Query("node_load1", "{{instance}}"),
        span=6,
    ),
]

SERVICES = [
    row("Celery, Redis, PostgreSQL"),
    graph(
        "Tasks waiting",
        "By queue, those excepted that a worker has fetched already.",
        Query(f"max by (queue) (busmon_celery_queue_tasks{{{NAMESPACE}}})", "{{queue}}"),
        span=8,
    ),
    graph(
        "Tasks by what happened",
        "By Celery's events, as busmon sees them.",
        Query(
            "60 * sum by (event) (max by (event, task)"
            f" (rate(busmon_celery_task_events_total{{{NAMESPACE}}}{RATE})))",
            "{{event}}",
        ),
        unit="suffix: /min",
        span=8,
    ),
    graph(
        "Tasks by worker",
        "Received tasks, by Flower.",
        Query(
            "60 * sum by (worker)"
            f' (rate(flower_events_total{{{NAMESPACE},type="task-received"}}{RATE}))',
            "{{worker}}",
        ),
        unit="suffix: /min",
        span=8,
    ),
    graph(
        "Redis: memory",
        "What it uses, and what it may use where that is limited.",
        Query(f"redis_memory_used_bytes{{{NAMESPACE}}}", "{{instance}} used"),
        Query(f"redis_memory_max_bytes{{{NAMESPACE}}} > 0", "{{instance}} allowed"),
        unit=units.BytesIEC,
        span=8,
    ),
    graph(
        "Redis: commands",
        "A second.",
        Query(f"rate(redis_commands_processed_total{{{NAMESPACE}}}{RATE})", "{{instance}}"),
        unit="ops",
        span=8,
    ),
    graph(
        "Redis: clients",
        "Connected ones, and those that wait for a task.",
        Query(f"redis_connected_clients{{{NAMESPACE}}}", "{{instance}} connected"),
        Query(f"redis_blocked_clients{{{NAMESPACE}}}", "{{instance}} waiting"),
        span=8,
    ),
    graph(
        "PostgreSQL: transactions",
        "Committed and rolled back, a second.",
        Query(
            f"sum by (datname) (rate(pg_stat_database_xact_commit{{{NAMESPACE}}}{RATE}))",
            "{{datname}} committed",
        ),
        Query(
            f"sum by (datname) (rate(pg_stat_database_xact_rollback{{{NAMESPACE}}}{RATE}))",
            "{{datname}} rolled back",
        ),
        unit="ops",
        span=8,
    ),
    graph(
        "PostgreSQL: connections",
        "By state, and how many there may be.",
        Query(f"sum by (state) (pg_stat_activity_count{{{NAMESPACE}}})", "{{state}}"),
        Query(f"max(pg_settings_max_connections{{{NAMESPACE}}})", "allowed"),
        span=8,
    ),
    graph(
        "PostgreSQL: size",
        "Disk space of each database.",
        Query(f"max by (datname) (pg_database_size_bytes{{{NAMESPACE}}})", "{{datname}}"),
        unit=units.BytesIEC,
        span=8,
    ),
]
