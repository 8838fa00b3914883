"""Alerts about the workers."""

from rule import Alert, group

GROUPS = (
    group(
        "busmon-workers",
        Alert(
            name="BusmonQueueGrowing",
            comment="""
                For 200 s the queue was always longer than it ever was between 600 and 400 s ago. A
                burst is over before 10 minutes have passed.
            """,
            expr="""
                max by (namespace, queue) (
                  min_over_time(busmon_celery_queue_tasks[200s])
                    > 10 + max_over_time(busmon_celery_queue_tasks[200s] offset 400s)
                )
            """,
            by=("queue",),
            summary="""
                The queue {{ $labels.queue }} has grown for 10 minutes, to {{ printf "%.0f" $value
                }} waiting tasks; the workers are down or too slow.
            """,
            first="""
                Look first whether the workers run (at Packit packit-worker-*), and whether one kind
                of task takes very long.
            """,
        ),
        Alert(
            name="BusmonQueueStuck",
            comment="""
                Each queue by itself: its tasks became no fewer, whatever the workers of others do.
            """,
            expr="""
                max by (namespace, queue) (min_over_time(busmon_celery_queue_tasks[20m])) > 0
                  and max by (namespace, queue) (resets(busmon_celery_queue_tasks[20m])) == 0
                  and max by (namespace, queue) (busmon_celery_queue_tasks offset 20m) > 0
            """,
            by=("queue",),
            summary="""
                Tasks have waited in the queue {{ $labels.queue }} for 20 minutes, and no worker has
                taken one.
            """,
            first="""
                Look first whether the workers run (at Packit packit-worker-*), and whether they
                consume from this queue.
            """,
        ),
        Alert(
            name="BusmonTasksFailing",
            expr="""
                (
                  max by (namespace, task) (
                    increase(busmon_celery_task_events_total{event="failed"}[30m])
                  ) >= 5
                )
                > max by (namespace, task) (
                  increase(busmon_celery_task_events_total{event="succeeded"}[30m])
                )
            """,
            by=("task",),
            summary="""
                In the last 30 minutes, {{ printf "%.0f" $value }} tasks {{ $labels.task }} failed,
                more than succeeded.
            """,
            first="""
                Look first at the workers' log (at Packit packit-worker-*). Usual causes are a
                service that is down, an expired token, or a broken release.
            """,
        ),
    ),
)
