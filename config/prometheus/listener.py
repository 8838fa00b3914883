"""Alerts about the listener."""

from annotations import TOPIC_PAGE
from rule import Alert, group

GROUPS = (
    group(
        "busmon-listener",
        Alert(
            name="BusmonListenerDown",
            variant="down",
            comment="""
                If the listener's monitor is asked, it decides: a silent tap may only be unable to
                reach busmon. A tap that never reported says nothing: BusmonTapNeverHeard. A
                listener without a queue, or without a consumer of it, receives nothing in any case.
            """,
            expr="""
                max by (namespace, bus) (busmon_listener_up) == 0
                or max by (namespace, bus) (busmon_observer_up{observer="tap"}) == 0
                  and on (namespace, bus) busmon_tap_last_report_timestamp_seconds
                  unless on (namespace, bus) busmon_listener_up
                or min by (namespace, bus) (
                  max by (namespace, bus, queue) (busmon_listener_queue_up)
                ) == 0
                or min by (namespace, bus) (
                  max by (namespace, bus, queue) (busmon_listener_queue_consumers)
                ) == 0
            """,
            by=("bus",),
            summary="""
                {{ $queue := "" }}{{ range query (printf
                `busmon_listener_queue_info{namespace=%q,bus=%q}` $labels.namespace $labels.bus)
                }}{{ $queue = label "kind" . }}{{ end }}{{ range query (printf
                `busmon_listener_queue_up{namespace=%q,bus=%q} == 0` $labels.namespace $labels.bus)
                }}{{ $queue = "gone" }}{{ end }}The listener of the bus {{ $labels.bus }} has been
                down, or has not consumed, for 3 minutes; {{ if eq $queue "temporary" }}its queue is
                gone with its connection, and new messages are lost{{ else if eq $queue "gone" }}its
                queue is gone, and new messages are lost{{ else if eq $queue "permanent" }}its
                messages wait in its queue{{ else }}its messages wait or are lost{{ end }}.
            """,
            first="""
                Look first at the listener's pod (at Packit packit-service-fedmsg), and at its log.
                If its log says that the tap cannot reach busmon, the listener itself may be well.
            """,
        ),
        Alert(
            name="BusmonListenerDown",
            variant="tap",
            expr="""
                max by (namespace, bus) (busmon_observer_up{observer="tap"}) == 0
                  and on (namespace, bus) busmon_tap_last_report_timestamp_seconds
                  and on (namespace, bus) max by (namespace, bus) (busmon_listener_up) == 1
            """,
            by=("bus",),
            summary="""
                The listener of the bus {{ $labels.bus }} consumes, but its tap has not reported for
                3 minutes; nobody knows what it passes on.
            """,
            first="""
                Look first at the listener's log. The url, token or network of the tap may be wrong.
            """,
        ),
        Alert(
            name="BusmonTapNeverHeard",
            expr="""
                max by (namespace, bus) (busmon_observer_up{observer="tap"}) == 0
                  unless on (namespace, bus) busmon_tap_last_report_timestamp_seconds
            """,
            by=("bus",),
            summary="""
                No tap was ever heard of in the listener of the bus {{ $labels.bus }}; nobody knows
                what the listener passes on.
            """,
            first="""
                Look first at the listener's command line. `--callback` there has priority over
                `callback` in the listener's TOML, so it must name the tap.
            """,
        ),
        Alert(
            name="BusmonListenerRestarting",
            comment="Each restart is too quick for BusmonListenerDown.",
            expr="""
                max by (namespace, bus) (increase(busmon_listener_restarts_total[30m])) > 3
            """,
            by=("bus",),
            summary="""
                The listener of the bus {{ $labels.bus }} restarted {{ printf "%.0f" $value }} times
                in the last 30 minutes.
            """,
            first="""
                Look first at the end of its log (at Packit packit-service-fedmsg). `busmon status`
                names topics whose messages can kill it.
            """,
        ),
        Alert(
            name="BusmonListenerStalled",
            comment="""
                By its monitor it consumes, but it receives nothing while the bus brings messages.
            """,
            expr="""
                (
                  max by (namespace, bus) (
                    increase(busmon_listener_messages_total{state="received"}[10m])
                  ) == 0
                    and on (namespace, bus) max by (namespace, bus) (busmon_listener_up) == 1
                    and on (namespace, bus) bus:busmon_messages:rate5m * 300 > 20
                )
                or (
                  max by (namespace, bus) (
                    increase(busmon_listener_messages_total{state="received"}[1h])
                  ) == 0
                    and on (namespace, bus) min_over_time((max by (namespace, bus) (
                      busmon_listener_up
                    ))[1h:1m]) == 1
                    and on (namespace, bus)
                      avg_over_time(bus:busmon_messages:rate5m[1h]) * 3600 > 20
                )
            """,
            by=("bus",),
            summary="""
                The listener of the bus {{ $labels.bus }} says that it consumes, but receives
                nothing while messages arrive on the bus.
            """,
            first="Its queue is gone, or its connection is dead. Restart the listener.",
        ),
        Alert(
            name="BusmonRulesDrifted",
            expr="""
                max by (namespace, bus, topic) (
                  increase(busmon_audit_unexpected_total{topic!="__other__"}[1h])
                ) > 0
            """,
            by=("bus", "topic"),
            summary="""
                In the last hour, the listener of the bus {{ $labels.bus }} passed on messages of {{
                $labels.topic }} that busmon's rule set ignores; the rule set is out of date.
            """,
            first="""
                Look first at what was released of the listener. Until the rule set is updated,
                busmon counts too few messages as handled.
            """,
            page=TOPIC_PAGE,
        ),
    ),
)
