"""Alerts about the buses: messages that should not come, or come late or twice."""

from annotations import TOPIC_PAGE
from rule import Alert, Recording, group

GROUPS = (
    group(
        "busmon-buses",
        Recording(
            "bus_topic_outcome_reason:busmon_messages:increase15m",
            """
                (
                  max by (namespace, bus, topic, outcome, reason) (
                    busmon_messages_total{topic!="__other__"}
                  )
                    unless max by (namespace, bus, topic, outcome, reason) (
                      max_over_time(busmon_messages_total{topic!="__other__"}[1h] offset 15m)
                    )
                    and on (namespace, bus)
                      max by (namespace, bus) (busmon_bus_connected offset 15m)
                )
                or max by (namespace, bus, topic, outcome, reason) (
                  increase(busmon_messages_total{topic!="__other__"}[15m])
                )
            """,
            """
                increase() misses the first increment of a series that begins above 0, as for an
                unknown topic. The increase is then the series' whole value, provided that busmon
                was already scraped when the series did not exist.
            """,
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
                {{ if eq $labels.outcome "invalid" }}Tell $publisher.{{ else }}{{ $queue := ""
                }}{{ range query (printf `busmon_listener_queue_info{namespace=%q,bus=%q}`
                $labels.namespace $labels.bus) }}{{ $queue = label "kind" . }}{{ end }}Look first
                whether the listener runs, and at its log. {{ if eq $queue "temporary" }}Such a
                message kills it once. Its queue is deleted then, so look at `busmon gaps`, too:
                what it had prefetched, and what came until it was up again, is lost.{{ else if eq
                $queue "permanent" }}Such a message goes back to its queue, and kills it after each
                start.{{ else }}It may have died once, or restart again and again.{{ end }}{{ end }}
            """,
            panel="Messages by outcome and reason",
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
            what="The listener drops them.",
            first="""
                Run `busmon lint` first, which compares bindings and rules. Then add a rule to the
                listener, or remove the binding.
            """,
            panel="Messages by outcome and reason",
            page=TOPIC_PAGE,
        ),
        Alert(
            name="BusmonDuplicatesHigh",
            comment="""
                A single reconnection also causes redeliveries, but they leave the 30 minutes before
                the 45 minutes are over.
            """,
            expr="""
                max by (namespace, bus) (increase(busmon_duplicates_total[30m])) > $messages
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
                last 30 minutes, and has done so for $for.
            """,
            what="Either busmon reconnects often, or something publishes its messages twice.",
            first="""
                Look first at busmon_bus_connects_total. If it stays the same, the listener gets the
                messages twice as well.
            """,
            panel="Lost connections and duplicates",
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
                ) > $seconds
            """,
            by=("bus",),
            summary="""
                For $for, half of the messages of the bus {{ $labels.bus }} have arrived late,
                now more than {{ $value | humanizeDuration }} after they were sent.
            """,
            what="The broker, busmon or a publisher is slow, or a publisher's clock is wrong.",
            first="""
                Look first whether all topics are late (busmon_last_message_sent_timestamp_seconds).
                If only some are, it is their publisher.
            """,
            panel="Delays by stage",
        ),
        interval="1m",
    ),
)
