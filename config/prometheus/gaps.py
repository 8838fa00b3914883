"""Open gaps: messages that did not reach a stage.

A gap is open until its messages are recovered, or a person accepts it. So no warning ends by
itself. The critical alert is about a loss that goes on: at least 5 messages and more than a
fifth of the last hour's, not counting those recovered since. A stage that is ten minutes late
has fewer. It ends when nothing more was lost for an hour.
"""

from rule import Alert, Recording, group

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
    ),
    group(
        "busmon-open-gaps",
        Alert(
            name="BusmonListenerGap",
            variant="open",
            expr='bus_stage:busmon_open_gap_messages:sum{stage="listener"} > 0',
            by=("bus", "stage"),
            summary="""
                The listener of the bus {{ $labels.bus }} has not passed on {{ printf "%.0f" $value
                }} message{{ if ne $value 1.0 }}s{{ end }} that it should have{{ range query (printf
                `bus_stage:busmon_open_gap_oldest_timestamp_seconds:min{namespace=%q,bus=%q,stage=%q}`
                $labels.namespace $labels.bus $labels.stage) }}; the oldest is from {{ . | value |
                humanizeTimestamp }}{{ end }}.
            """,
            first="""
                Look first at the listener's log (at Packit packit-service-fedmsg). `busmon gaps`
                lists the messages, each with the command that consumes it again. If nobody needs
                them, `busmon gaps accept` ends the alert.
            """,
            page="/gaps?bus={{ $labels.bus | urlquery }}&stage={{ $labels.stage }}",
        ),
        Alert(
            name="BusmonListenerGap",
            variant="losing",
            expr="""
                bus_stage:busmon_open_gap_messages:sum{stage="listener"}
                  and bus_stage:busmon_audit_missing:open_ratio1h > 0.2
                  and bus_stage:busmon_audit_missing:open1h >= 5
            """,
            by=("bus", "stage"),
            summary="""
                The listener of the bus {{ $labels.bus }} did not pass on more than a fifth of the
                last hour's messages. In all, {{ printf "%.0f" $value }} are missing{{ range query
                (printf
                `bus_stage:busmon_open_gap_oldest_timestamp_seconds:min{namespace=%q,bus=%q,stage=%q}`
                $labels.namespace $labels.bus $labels.stage) }}; the oldest is from {{ . | value |
                humanizeTimestamp }}{{ end }}.
            """,
            first="""
                Look first at the listener's log (at Packit packit-service-fedmsg). `busmon gaps`
                lists the messages, each with the command that consumes it again. If nobody needs
                them, `busmon gaps accept` ends the alert.
            """,
            page="/gaps?bus={{ $labels.bus | urlquery }}&stage={{ $labels.stage }}",
        ),
        Alert(
            name="BusmonWorkerGap",
            variant="open",
            expr='bus_stage:busmon_open_gap_messages:sum{stage="worker"} > 0',
            by=("bus", "stage"),
            summary="""
                The workers have not finished {{ printf "%.0f" $value }} message{{ if ne $value 1.0
                }}s{{ end }} of the bus {{ $labels.bus }} that the listener passed on{{ range query
                (printf
                `bus_stage:busmon_open_gap_oldest_timestamp_seconds:min{namespace=%q,bus=%q,stage=%q}`
                $labels.namespace $labels.bus $labels.stage) }}; the oldest is from {{ . | value |
                humanizeTimestamp }}{{ end }}.
            """,
            first="""
                Look first whether the workers run (at Packit packit-worker-*). `busmon gaps` lists
                the messages, each with the command that consumes it again. If nobody needs them, as
                after a purge of the queues, `busmon gaps accept` ends the alert.
            """,
            page="/gaps?bus={{ $labels.bus | urlquery }}&stage={{ $labels.stage }}",
        ),
        Alert(
            name="BusmonWorkerGap",
            variant="losing",
            expr="""
                bus_stage:busmon_open_gap_messages:sum{stage="worker"}
                  and bus_stage:busmon_audit_missing:open_ratio1h > 0.2
                  and bus_stage:busmon_audit_missing:open1h >= 5
            """,
            by=("bus", "stage"),
            summary="""
                The workers did not finish more than a fifth of the last hour's messages of the bus
                {{ $labels.bus }}. In all, {{ printf "%.0f" $value }} are missing{{ range query
                (printf
                `bus_stage:busmon_open_gap_oldest_timestamp_seconds:min{namespace=%q,bus=%q,stage=%q}`
                $labels.namespace $labels.bus $labels.stage) }}; the oldest is from {{ . | value |
                humanizeTimestamp }}{{ end }}.
            """,
            first="""
                Look first whether the workers run (at Packit packit-worker-*). `busmon gaps` lists
                the messages, each with the command that consumes it again. If nobody needs them, as
                after a purge of the queues, `busmon gaps accept` ends the alert.
            """,
            page="/gaps?bus={{ $labels.bus | urlquery }}&stage={{ $labels.stage }}",
        ),
        Alert(
            name="BusmonHandlersGap",
            variant="open",
            expr='bus_stage:busmon_open_gap_messages:sum{stage="handlers"} > 0',
            by=("bus", "stage"),
            summary="""
                A handler has failed or not ended for {{ printf "%.0f" $value }} message{{ if ne
                $value 1.0 }}s{{ end }} of the bus {{ $labels.bus }}{{ range query (printf
                `bus_stage:busmon_open_gap_oldest_timestamp_seconds:min{namespace=%q,bus=%q,stage=%q}`
                $labels.namespace $labels.bus $labels.stage) }}; the oldest is from {{ . | value |
                humanizeTimestamp }}{{ end }}.
            """,
            first="""
                Look first at `busmon gaps`, which lists the messages, and at `busmon trace ID` of
                one of them, which names the task. The workers' log (at Packit packit-worker-*) has
                its error. If nobody needs the messages, `busmon gaps accept` ends the alert.
            """,
            page="/gaps?bus={{ $labels.bus | urlquery }}&stage={{ $labels.stage }}",
        ),
        Alert(
            name="BusmonHandlersGap",
            variant="losing",
            expr="""
                bus_stage:busmon_open_gap_messages:sum{stage="handlers"}
                  and bus_stage:busmon_audit_missing:open_ratio1h > 0.2
                  and bus_stage:busmon_audit_missing:open1h >= 5
            """,
            by=("bus", "stage"),
            summary="""
                A handler failed or did not end for more than a fifth of the last hour's messages of
                the bus {{ $labels.bus }}. In all, {{ printf "%.0f" $value }} are not dealt with{{
                range query (printf
                `bus_stage:busmon_open_gap_oldest_timestamp_seconds:min{namespace=%q,bus=%q,stage=%q}`
                $labels.namespace $labels.bus $labels.stage) }}; the oldest is from {{ . | value |
                humanizeTimestamp }}{{ end }}.
            """,
            first="""
                Look first at `busmon gaps`, which lists the messages, and at `busmon trace ID` of
                one of them, which names the task. The workers' log (at Packit packit-worker-*) has
                its error. If nobody needs the messages, `busmon gaps accept` ends the alert.
            """,
            page="/gaps?bus={{ $labels.bus | urlquery }}&stage={{ $labels.stage }}",
        ),
    ),
)
