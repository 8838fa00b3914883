"""Alerts about the listener."""

from annotations import TOPIC_PAGE, when
from rule import Alert, Recording, group

LOOK = "Look first at the listener's pod (at Packit packit-service-fedmsg), and at its log."
LAST_REPORT = when(
    "Its last report is from TIME.", "max(busmon_tap_last_report_timestamp_seconds{%s})", "bus"
)

GROUPS = (
    group(
        "busmon-listener",
        Recording(
            "bus:busmon_tap_up:max",
            """
                max by (namespace, bus) (busmon_observer_up{observer="tap"})
                  and on (namespace, bus) busmon_tap_last_report_timestamp_seconds
            """,
            """
                1 while the tap reports that it is alive, 0 if it did and no longer does. A tap that
                never reported says nothing: BusmonTapNeverHeard.
            """,
        ),
        Alert(
            name="BusmonListenerDown",
            variant="down",
            comment="""
                If the listener's monitor answers, it decides: a silent tap may only be unable to
                reach busmon. If the monitor does not answer, a tap that reports shows that the
                listener runs. A listener without a queue, or without a consumer of it, receives
                nothing in any case. A node that dies gives its pods back in less than 10 minutes.
                While the broker is down, so is its listener: that is BusmonBusDisconnected.
            """,
            expr="""
                (
                  max by (namespace, bus) (busmon_listener_up) == 0
                    unless on (namespace, bus) (
                      max by (namespace, bus) (busmon_observer_up{observer="ready"}) == 0
                        and on (namespace, bus) bus:busmon_tap_up:max == 1
                    )
                  or bus:busmon_tap_up:max == 0
                    unless on (namespace, bus) busmon_listener_up
                  or min by (namespace, bus) (
                    max by (namespace, bus, queue) (busmon_listener_queue_up)
                  ) == 0
                  or min by (namespace, bus) (
                    max by (namespace, bus, queue) (busmon_listener_queue_consumers)
                  ) == 0
                )
                unless on (namespace, bus) max by (namespace, bus) (busmon_bus_connected) == 0
            """,
            by=("bus",),
            summary="""
                {{ $queue := "" }}{{ range query (printf
                `busmon_listener_queue_info{namespace=%q,bus=%q}` $labels.namespace $labels.bus)
                }}{{ $queue = label "kind" . }}{{ end }}{{ range query (printf
                `busmon_listener_queue_up{namespace=%q,bus=%q} == 0` $labels.namespace $labels.bus)
                }}{{ $queue = "gone" }}{{ end }}The listener of the bus {{ $labels.bus }} has been
                down, or has not consumed, for $for; {{ if eq $queue "temporary" }}its queue is gone
                with its connection, and new messages are lost{{ else if eq $queue "gone" }}its
                queue is gone, and new messages are lost{{ else if eq $queue "permanent" }}its
                messages wait in its queue{{ else }}its messages wait or are lost{{ end }}.
            """,
            what="Nothing of this bus is handled.",
            first=f"""
                {LOOK} If its log says that the tap cannot reach busmon, the listener itself may be
                well.
            """,
            panel="Connections and observers",
        ),
        Alert(
            name="BusmonListenerDown",
            variant="tap",
            expr="""
                bus:busmon_tap_up:max == 0
                  and on (namespace, bus) max by (namespace, bus) (busmon_listener_up) == 1
            """,
            by=("bus",),
            summary="""
                The listener of the bus {{ $labels.bus }} consumes, but its tap has not reported for
                $for; nobody knows what it passes on.
            """,
            what="The url, token or network of the tap may be wrong.",
            since=LAST_REPORT,
            first="Look first at the listener's log, in which the tap says what it cannot reach.",
            panel="Connections and observers",
        ),
        Alert(
            name="BusmonListenerDown",
            variant="monitor",
            expr="""
                max by (namespace, bus) (busmon_observer_up{observer="ready"}) == 0
                  and on (namespace, bus) bus:busmon_tap_up:max == 1
            """,
            by=("bus",),
            summary="""
                The tap in the listener of the bus {{ $labels.bus }} reports, but busmon has not
                reached the listener's monitor for $for; nobody knows whether it consumes.
            """,
            what="The listener runs. What it does not pass on becomes an open gap.",
            first="""
                Look first at `busmon status`, which says why the monitor does not answer: its
                address in [audit.ready], the listener's [monitoring], or the network.
            """,
            panel="Connections and observers",
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
            what="Nothing is blamed on the listener.",
            first="""
                Look first at the listener's command line. `--callback` there has priority over
                `callback` in the listener's TOML, so it must name the tap.
            """,
            panel="Connections and observers",
        ),
        Alert(
            name="BusmonListenerRestarting",
            comment="""
                Each restart is too quick for BusmonListenerDown. A callback that raises ends the
                listener; without its monitor, the tap's reports say so. If its pauses are long,
                BusmonListenerDown fires first, and stays; restarts count for half an hour. Else
                this one suppresses it in Alertmanager.
            """,
            expr="""
                (
                  max by (namespace, bus) (increase(busmon_listener_restarts_total[30m]))
                    > $restarts
                  or max by (namespace, bus) (
                    increase(busmon_tap_reports_total{state="raised"}[30m])
                  ) > $restarts
                )
                unless on (namespace, bus) (
                  max_over_time(
                    ALERTS{alertname="BusmonListenerDown", alertstate="firing", variant=""}[30m]
                  )
                    unless on (namespace, bus)
                      ALERTS{alertname="BusmonListenerRestarting", alertstate="firing"}
                )
            """,
            by=("bus",),
            summary="""
                The listener of the bus {{ $labels.bus }} restarted, or its callback raised, {{
                printf "%.0f" $value }} times in the last 30 minutes.
            """,
            what="""
                A callback that raises ends the listener (but for Nack and Drop), and messages can
                be lost each time.
            """,
            first="""
                Look first at the end of its log (at Packit packit-service-fedmsg). `busmon status`
                names topics whose messages can kill it.
            """,
            panel="Connections and observers",
        ),
        Alert(
            name="BusmonListenerStalled",
            comment="""
                By its monitor it consumes, but it receives nothing while messages come that it
                should pass on; only those, since busmon may receive more topics. On a quiet bus
                that takes an hour to see; the rates of 5 minutes in its last 55 know no message
                that came before it. Or its queue has a consumer, and never got shorter, and its
                monitor does not say that it received something: then it is only slow.
            """,
            expr="""
                (
                  max by (namespace, bus) (
                    increase(busmon_listener_messages_total{state="received"}[5m])
                  ) == 0
                    and on (namespace, bus) max by (namespace, bus) (busmon_listener_up) == 1
                    and on (namespace, bus) bus:busmon_messages_handled:rate5m * 300 >= $messages
                )
                or (
                  max by (namespace, bus) (
                    increase(busmon_listener_messages_total{state="received"}[1h])
                  ) == 0
                    and on (namespace, bus) min_over_time((max by (namespace, bus) (
                      busmon_listener_up
                    ))[1h:1m]) == 1
                    and on (namespace, bus)
                      avg_over_time(bus:busmon_messages_handled:rate5m[55m]) * 3300 >= $messages
                )
                or max by (namespace, bus) (
                  min_over_time(busmon_listener_queue_messages[15m]) >= $messages
                    and resets(busmon_listener_queue_messages[15m]) == 0
                    and busmon_listener_queue_messages
                      > busmon_listener_queue_messages offset 15m
                    and busmon_listener_queue_consumers > 0
                ) unless on (namespace, bus) max by (namespace, bus) (
                  increase(busmon_listener_messages_total{state="received"}[15m])
                ) > 0
            """,
            by=("bus",),
            summary="""
                The listener of the bus {{ $labels.bus }} is connected, but takes no message, while
                messages for it arrive on the bus.
            """,
            what="It hangs, its queue is gone, or its connection is dead.",
            began="It had taken none for 5 minutes, on a quiet bus for an hour, at TIME.",
            first="""
                Look first at its log (at Packit packit-service-fedmsg), then restart it. If its
                queue was gone, `busmon gaps` lists what it lost.
            """,
            panel="Listener's own counts beside busmon's",
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
            what="Until the rule set is updated, busmon counts too few messages as handled.",
            first="""
                Look first at what was released of the listener. `busmon trace ID` of such a message
                shows both judgements.
            """,
            panel="Unconfirmed and unexpected messages",
            page=TOPIC_PAGE,
        ),
    ),
)
