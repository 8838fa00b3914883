"""Alerts about the workers."""

from causes import WORKERS_LOSE, unless_fired
from rule import Alert, group

GROUPS = (
    group(
        "busmon-workers",
        Alert(
            name="BusmonQueueGrowing",
            comment="""
                For 200 s the queue was always longer than it ever was between 600 and 400 s ago. A
                burst is over before 10 minutes have passed. While tasks are taken, nobody is woken
                up; if none is, BusmonQueueStuck does so.
            """,
            expr="""
                max by (namespace, queue) (
                  min_over_time(busmon_celery_queue_tasks[200s])
                    > $tasks + max_over_time(busmon_celery_queue_tasks[200s] offset 400s)
                )
            """,
            by=("queue",),
            summary="""
                The queue {{ $labels.queue }} has grown for $for, to {{ printf "%.0f" $value }}
                waiting tasks; the workers are too slow.
            """,
            what="Tasks come faster than they are taken. Nothing is lost.",
            first="""
                Look first whether all workers run (at Packit packit-worker-*), and whether one kind
                of task takes very long.
            """,
            panel="Tasks that wait",
        ),
        Alert(
            name="BusmonQueueStuck",
            comment="""
                Each queue by itself: its tasks became no fewer, whatever the workers of others do.
                If many wait, that shows sooner; a few can wait for one long task. The listener's
                tasks are known by their name: if some were taken, their queue is only slow. If the
                workers lose messages of that queue, too, the alert that came first stays.
            """,
            expr=f"""
                max by (namespace, queue) (
                  busmon_celery_queue_tasks > 0
                    and min_over_time(busmon_celery_queue_tasks[$time]) > 0
                    and resets(busmon_celery_queue_tasks[$time]) == 0
                    and busmon_celery_queue_tasks offset $time > 0
                  or busmon_celery_queue_tasks >= $tasks
                    and min_over_time(busmon_celery_queue_tasks[$time_of_many]) > 0
                    and resets(busmon_celery_queue_tasks[$time_of_many]) == 0
                    and busmon_celery_queue_tasks offset $time_of_many > 0
                )
                unless on (namespace, queue) (
                  busmon_celery_queue_tasks{{queue=~"$queue"}}
                    and on (namespace) (
                      max by (namespace) (
                        increase(
                          busmon_celery_task_events_total{{
                            event="received", task=~"$listener_tasks"
                          }}[$time_of_many]
                        )
                      ) > 0
                      or on (namespace) {WORKERS_LOSE}
                    )
                )
            """,
            by=("queue",),
            summary="""
                Tasks have waited in the queue {{ $labels.queue }} for $time_of_many or longer, and
                no worker has taken one; {{ printf "%.0f" $value }} wait{{ if eq $value 1.0 }}s{{
                end }}.
            """,
            began="The tasks had waited for so long at TIME.",
            what="No worker that runs consumes from this queue, or all of them hang.",
            first="""
                Look first whether the workers run (at Packit packit-worker-*), and whether they
                consume from this queue.
            """,
            panel="Tasks that wait",
        ),
        Alert(
            name="BusmonTasksFailing",
            comment="""
                If messages are missing because of that, and BusmonHandlersGap woke somebody up
                first, that is enough.
            """,
            expr=f"""
                (
                  max by (namespace, task) (
                    increase(busmon_celery_task_events_total{{event="failed"}}[30m])
                  ) >= $tasks
                )
                > max by (namespace, task) (
                  increase(busmon_celery_task_events_total{{event="succeeded"}}[30m])
                )
                {unless_fired("BusmonHandlersGap", "namespace")}
            """,
            by=("task",),
            summary="""
                In the last 30 minutes, {{ printf "%.0f" $value }} tasks {{ $labels.task }} failed,
                more than succeeded.
            """,
            what="Usual causes are a service that is down, an expired token, or a broken release.",
            first="Look first at the workers' log (at Packit packit-worker-*).",
            panel="Failed tasks by name",
        ),
    ),
)
