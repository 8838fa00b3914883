"""Open gaps: messages that did not reach a stage.

A gap is open until its messages are recovered, or a person accepts it. So no warning ends by
itself. The critical alert is about a loss that goes on: at least 5 messages and more than a
fifth of the last hour's, not counting those recovered since. A stage that is ten minutes late
has fewer. It ends when nothing more was lost for an hour. Who was woken up in the last hour by what
caused the loss is not woken up again, unless a listener that is back goes on losing messages.
"""

from dataclasses import replace

from annotations import MESSAGES, when
from causes import UNLESS_EXPLAINED
from rule import Alert, Recording, group

ARE = "{{ if eq $value 1.0 }}is{{ else }}are{{ end }}"
LIST = "`busmon gaps` lists the messages, each with the command that consumes it again."


def gap_alerts(
    name: str, stage: str, *, open_gaps: str, losing: str, what: str, first: str
) -> tuple[Alert, Alert]:
    """Return the warning about what is missing, and the alert about a loss that goes on.

    `open_gaps` and `losing` are their summaries.
    """
    gaps = f'bus_stage:busmon_open_gap_messages:sum{{stage="{stage}"}}'
    oldest = "min(bus_stage:busmon_open_gap_oldest_timestamp_seconds:min{%s})"
    warning = Alert(
        name=name,
        variant="open",
        expr=f"{gaps} > 0",
        by=("bus", "stage"),
        summary=open_gaps,
        what=what,
        since=when("The oldest is from TIME.", oldest, "bus", "stage"),
        first=first,
        panel="Open gaps by stage and topic",
        page="/gaps?bus={{ $labels.bus | urlquery }}&stage={{ $labels.stage }}",
    )
    critical = replace(
        warning,
        variant="losing",
        expr=f"""
            {gaps}
              and bus_stage:busmon_audit_missing:open_ratio1h > $percent / 100
              and bus_stage:busmon_audit_missing:open1h >= $messages
              {UNLESS_EXPLAINED[stage]}
        """,
        summary=f"{losing} In all, {MESSAGES} {ARE} missing.",
        what=f"{what} The loss goes on.",
    )
    return warning, critical


LISTENER = gap_alerts(
    "BusmonListenerGap",
    "listener",
    open_gaps=f"""
        The listener of the bus {{{{ $labels.bus }}}} has not passed on {MESSAGES} that it should
        have.
    """,
    losing="""
        The listener of the bus {{ $labels.bus }} did not pass on more than $percent % of the last
        hour's messages.
    """,
    what="The listener did not get what arrived on the bus for it, dropped it, or failed with it.",
    first=f"""
        Look first at the listener's log (at Packit packit-service-fedmsg). {LIST} If nobody needs
        them, `busmon gaps accept` ends the alert.
    """,
)

WORKER = gap_alerts(
    "BusmonWorkerGap",
    "worker",
    open_gaps=f"""
        The workers have not finished {MESSAGES} of the bus {{{{ $labels.bus }}}} that the listener
        passed on.
    """,
    losing="""
        The workers did not finish more than $percent % of the last hour's messages of the bus
        {{ $labels.bus }}.
    """,
    what="What the listener passed on was lost in the queue, or a worker took it and did not end.",
    first=f"""
        Look first whether the workers run (at Packit packit-worker-*). {LIST} If nobody needs
        them, as after a purge of the queues, `busmon gaps accept` ends the alert.
    """,
)


def not_only_waiting(alert: Alert, open_gaps: str, severity: str) -> Alert:
    """Return the alert for tasks that do not only wait: those are not lost.

    What has waited for two minutes is missing, and as many tasks were in the queue all of that
    time. An alert that fires goes on when other tasks have to wait.
    """
    waiting = f"""
        unless on (namespace, bus, stage) (
          {open_gaps}
            <= on (namespace) group_left () sum by (namespace) (
              max by (namespace, queue) (
                min_over_time(busmon_celery_queue_tasks{{queue=~"$queue"}}[2m])
              )
            )
            unless on (namespace, bus, stage) ALERTS{{
              alertname="BusmonWorkerGap", alertstate="firing", severity="{severity}"
            }}
        )
    """
    return replace(alert, expr=f"{alert.expr} {waiting}")


OF_WORKERS = 'bus_stage:busmon_open_gap_messages:sum{stage="worker"}'
# What has been missing for six hours does not wait, and is no loss that goes on.
NEW_OF_WORKERS = f"{OF_WORKERS} - min_over_time({OF_WORKERS}[6h])"
WORKER_OPEN = not_only_waiting(WORKER[0], OF_WORKERS, "warning")
WORKER_LOSING = not_only_waiting(WORKER[1], NEW_OF_WORKERS, "critical")

HANDLERS = gap_alerts(
    "BusmonHandlersGap",
    "handlers",
    open_gaps=f"""
        A handler has failed or not ended for {MESSAGES} of the bus {{{{ $labels.bus }}}}.
    """,
    losing="""
        A handler failed or did not end for more than $percent % of the last hour's messages of the
        bus {{ $labels.bus }}.
    """,
    what="The workers took these messages, but a task that should deal with them failed.",
    first="""
        Look first at `busmon gaps`, which lists the messages, and at `busmon trace ID` of one of
        them, which names the task. The workers' log (at Packit packit-worker-*) has its error. If
        nobody needs the messages, `busmon gaps accept` ends the alert.
    """,
)

GROUPS = (
    group(
        "busmon-gaps",
        Recording(
            "bus_stage:busmon_audit_messages:increase1h",
            """
                sum by (namespace, bus, stage) (
                  max by (namespace, bus, topic, stage) (
                    increase(busmon_audit_messages_total{topic!="__other__"}[1h])
                  )
                )
            """,
            "The messages that reached each stage: bus, listener, worker, handlers.",
        ),
        Recording(
            "bus_stage:busmon_audit_missing:increase1h",
            """
                sum by (namespace, bus, stage) (
                  max by (namespace, bus, topic, stage) (
                    increase(busmon_audit_missing_total{topic!="__other__"}[1h])
                  )
                )
            """,
            """
                The messages that did not reach the stage, when their window was closed or later.
                Windows without data have none.
            """,
        ),
        Recording(
            "bus_stage:busmon_open_gap_messages:sum",
            """
                sum by (namespace, bus, stage) (
                  max by (namespace, bus, topic, stage) (busmon_open_gap_messages)
                    or max by (namespace, bus, topic, stage) (
                      last_over_time(busmon_open_gap_messages[15m])
                    )
                )
            """,
            """
                The messages of open gaps: neither recovered nor accepted, however old they are.
                While busmon restarts, its last numbers hold. A new pod has another `instance`.
            """,
        ),
        Recording(
            "bus_stage:busmon_open_gap_oldest_timestamp_seconds:min",
            """
                min by (namespace, bus, stage) (busmon_open_gap_oldest_timestamp_seconds)
                  or min by (namespace, bus, stage) (
                    last_over_time(busmon_open_gap_oldest_timestamp_seconds[15m])
                  )
            """,
            """
                When the window with the oldest open gap began. Only alerts with an open gap use it.
            """,
        ),
        Recording(
            "bus_stage:busmon_audit_missing:open1h",
            """
                bus_stage:busmon_open_gap_messages:sum < bus_stage:busmon_audit_missing:increase1h
                  or bus_stage:busmon_audit_missing:increase1h
            """,
            """
                How many of the last hour's missing messages can still be missing: at most all of
                them, and at most as many as are in open gaps.
            """,
        ),
        Recording(
            "bus_stage:busmon_audit_missing:open_ratio1h",
            """
                bus_stage:busmon_audit_missing:open1h
                  / (
                    bus_stage:busmon_audit_messages:increase1h
                      + bus_stage:busmon_audit_missing:increase1h
                    > 0
                  )
            """,
            """
                Of the last hour's messages that should have reached the stage, the share that did
                not, not even late.
            """,
        ),
        interval="1m",
        comment="Windows are closed every five minutes, so every minute is often enough.",
    ),
    group("busmon-open-gaps", *LISTENER, WORKER_OPEN, WORKER_LOSING, *HANDLERS, interval="1m"),
)
