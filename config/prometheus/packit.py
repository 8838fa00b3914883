"""Events that Packit's workers processed, against messages to be handled."""

from rule import Recording, group

GROUPS = (
    group(
        "busmon-packit",
        Recording(
            "namespace:packit_events_processed:rate15m",
            """
                clamp_min(
                  sum by (namespace) (rate(events_processed_total[15m]))
                    - on (namespace) sum by (namespace) (rate(github_webhook_calls_total[15m])),
                  0
                )
                or sum by (namespace) (rate(events_processed_total[15m]))
            """,
        ),
        Recording(
            "namespace:busmon_messages_handled:rate15m",
            """
                sum by (namespace) (
                  max by (namespace, bus, topic) (
                    rate(busmon_messages_total{outcome="handled", topic!="__other__"}[15m])
                  )
                )
            """,
        ),
        Recording(
            "all:packit_events_processed:ratio_rate15m",
            """
                sum(namespace:packit_events_processed:rate15m)
                  / (sum(namespace:busmon_messages_handled:rate15m) > 0)
            """,
            """
                Of all namespaces together, since the push gateway may be in another one than
                busmon.
            """,
        ),
        comment="""
            A rough comparison that needs nothing in the listener: the events that Packit's workers
            processed, by their own count on the push gateway, and the messages to be handled.
            events_processed_total includes the webhooks of GitHub, GitLab and Testing Farm. Those
            of GitHub are subtracted if github_webhook_calls_total is scraped, the others never. So
            a ratio above 1 is usual, and only one that falls far below its own past is a sign of a
            gap.
        """,
    ),
)
