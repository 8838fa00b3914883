"""Alerts about the buses: filters, messages that should not come, late ones."""

from annotations import TOPIC_PAGE
from rule import Alert, Recording, group

GROUPS = (
    group(
        "busmon-share",
        Recording(
            "bus_topic:busmon_messages:increase6h",
            """
                sum by (namespace, bus, topic) (
                  max by (namespace, bus, topic, outcome, reason) (
                    increase(
                      busmon_messages_total{outcome=~"handled|ignored", topic!="__other__"}[6h]
                    )
                  )
                )
            """,
        ),
        Recording(
            "bus_topic:busmon_messages_handled:increase6h",
            """
                sum by (namespace, bus, topic) (
                  max by (namespace, bus, topic, outcome, reason) (
                    increase(busmon_messages_total{outcome="handled", topic!="__other__"}[6h])
                  )
                )
            """,
        ),
        interval="5m",
        comment="""
            For BusmonHandledShareCollapsed. For sums over 6 hours, every 5 minutes is often enough.
        """,
    ),
    group(
        "busmon-buses",
        Alert(
            name="BusmonHandledShareCollapsed",
            comment="""
                By the handled share of last week, at least 20 messages should have been handled,
                and less than a tenth of that was. It is also less than a tenth of the usual number:
                a flood of messages that concern others lowers the share, but is no fault.
            """,
            expr="""
                (
                  bus_topic:busmon_messages_handled:increase6h
                    < 0.1 * bus_topic:busmon_messages:increase6h
                      * avg_over_time(bus_topic:busmon_messages_handled:increase6h[1w] offset 6h)
                      / avg_over_time(bus_topic:busmon_messages:increase6h[1w] offset 6h)
                )
                and bus_topic:busmon_messages:increase6h
                  * avg_over_time(bus_topic:busmon_messages_handled:increase6h[1w] offset 6h)
                  / avg_over_time(bus_topic:busmon_messages:increase6h[1w] offset 6h) >= 20
                and bus_topic:busmon_messages_handled:increase6h
                  < 0.1 * avg_over_time(bus_topic:busmon_messages_handled:increase6h[1w] offset 6h)
            """,
            by=("bus", "topic"),
            summary="""
                Messages of {{ $labels.topic }} arrive on the bus {{ $labels.bus }} as usual, but in
                the last 6 hours the listener's filters let almost none through.
            """,
            what="""
                Usually a filter or a setting of the listener is wrong, or the messages have
                changed.
            """,
            first="""
                Look first at what was released. `busmon explain` gives the reason for each recorded
                message.
            """,
            page=TOPIC_PAGE,
        ),
        Alert(
            name="BusmonInvalidMessages",
            expr="""
                bus_topic_outcome_reason:busmon_messages:increase15m{outcome=~"invalid|error"} > 0
            """,
            by=("bus", "topic", "outcome", "reason"),
            summary="""
                Messages of {{ $labels.topic }} arrived on the bus {{ $labels.bus }} in the last 15
                minutes that {{ if eq $labels.outcome "invalid" }}fedora-messaging rejects before
                the listener sees them{{ else }}can kill the listener{{ end }} ({{ $labels.reason
                }}).
            """,
            what="""
                {{ if eq $labels.outcome "invalid" }}They are lost, and nobody else notices.{{ else
                }}The listener's own code fails on such a message.{{ end }}
            """,
            first="""
                {{ if eq $labels.outcome "invalid" }}Tell the publisher.{{ else }}{{ $queue := ""
                }}{{ range query (printf `busmon_listener_queue_info{namespace=%q,bus=%q}`
                $labels.namespace $labels.bus) }}{{ $queue = label "kind" . }}{{ end }}Look first
                whether the listener runs, and at its log. {{ if eq $queue "temporary" }}Such a
                message kills it once. Its queue is deleted then, so look at `busmon gaps`, too:
                what it had prefetched, and what came until it was up again, is lost.{{ else if eq
                $queue "permanent" }}Such a message goes back to its queue, and kills it after each
                start.{{ else }}It may have died once, or restart again and again.{{ end }}{{ end }}
            """,
            page=TOPIC_PAGE,
        ),
        Alert(
            name="BusmonUnmappedTopic",
            comment="""
                By the time of the newest message, since increase() misses the first message of a
                topic.
            """,
            expr="""
                time() - max by (namespace, bus, topic) (
                  busmon_last_message_timestamp_seconds
                ) < 3600
                  and on (namespace, bus, topic)
                    max by (namespace, bus, topic) (busmon_messages_total{outcome="unmapped"}) > 0
            """,
            by=("bus", "topic"),
            summary="""
                Messages of {{ $labels.topic }} arrived on the bus {{ $labels.bus }} in the last
                hour, and the listener has no rule for this topic.
            """,
            first="""
                Add a rule to the listener, or remove the binding. `busmon lint` compares both.
            """,
            page=TOPIC_PAGE,
        ),
        Alert(
            name="BusmonDuplicatesHigh",
            comment="""
                A single reconnection also causes redeliveries, but they leave the 30 minutes before
                the 45 minutes are over.
            """,
            expr="""
                max by (namespace, bus) (increase(busmon_duplicates_total[30m])) > 300
                  and on (namespace, bus)
                    max by (namespace, bus) (rate(busmon_duplicates_total[30m]))
                      > 0.1 * sum by (namespace, bus) (
                        max by (namespace, bus, topic, outcome, reason) (
                          rate(busmon_messages_total{topic!="__other__"}[30m])
                        )
                      )
            """,
            by=("bus",),
            summary="""
                The bus {{ $labels.bus }} delivered {{ printf "%.0f" $value }} messages again in the
                last 30 minutes, and has done so for 45 minutes.
            """,
            first="""
                Look first whether busmon reconnects often (busmon_bus_connects_total). If not,
                something publishes its messages twice, and the listener gets them twice as well.
            """,
        ),
        Alert(
            name="BusmonDeliveryDelayHigh",
            comment="""
                Messages that waited while busmon was away are late, too, but leave the rate after
                10 minutes.
            """,
            expr="""
                histogram_quantile(
                  0.5, max by (namespace, bus, le) (
                    rate(busmon_stage_delay_seconds_bucket{stage="bus"}[10m])
                  )
                ) > 300
            """,
            by=("bus",),
            summary="""
                For 20 minutes, half of the messages of the bus {{ $labels.bus }} have arrived late,
                now more than {{ $value | humanizeDuration }} after they were sent.
            """,
            first="""
                Look first whether all topics are late (busmon_last_message_sent_timestamp_seconds).
                If only some are, their publisher is slow, or its clock is wrong.
            """,
        ),
    ),
)
