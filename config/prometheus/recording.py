"""Recording rules that several families use, named level:metric:operations.

The level names the labels that are kept. `namespace` is always kept and never named: it
separates two installations in one Prometheus. Without Kubernetes it is empty.

Several busmons may watch the same bus, each with a queue of its own. Each sees every message,
so their counts are never added up: the rules take the largest.

The count of a topic that no longer comes is added to that of the topic `__other__`. So no rule
takes the increase of `__other__`.
"""

from rule import Recording, group

GROUPS = (
    group(
        "busmon-volume",
        Recording(
            "bus_topic_outcome_reason:busmon_messages:rate5m",
            """
                max by (namespace, bus, topic, outcome, reason) (
                  rate(busmon_messages_total{topic!="__other__"}[5m])
                )
            """,
        ),
        Recording(
            "bus_topic:busmon_messages:rate5m",
            """
                sum by (namespace, bus, topic) (bus_topic_outcome_reason:busmon_messages:rate5m)
            """,
            "The volume of the bus by topic.",
        ),
        Recording(
            "bus_topic:busmon_messages_handled:rate5m",
            """
                sum by (namespace, bus, topic) (
                  bus_topic_outcome_reason:busmon_messages:rate5m{outcome="handled"}
                )
            """,
        ),
        Recording(
            "bus:busmon_messages:rate5m",
            "sum by (namespace, bus) (bus_topic:busmon_messages:rate5m)",
        ),
        Recording(
            "bus:busmon_messages_handled:rate5m",
            "sum by (namespace, bus) (bus_topic:busmon_messages_handled:rate5m)",
        ),
        Recording(
            "bus_topic:busmon_messages_handled:ratio_rate5m",
            """
                bus_topic:busmon_messages_handled:rate5m / (bus_topic:busmon_messages:rate5m > 0)
            """,
            """
                The share of messages that the listener should handle. No value without messages.
            """,
        ),
        Recording(
            "bus:busmon_messages_handled:ratio_rate5m",
            "bus:busmon_messages_handled:rate5m / (bus:busmon_messages:rate5m > 0)",
        ),
    ),
    group(
        "busmon-throughput",
        Recording(
            "bus_state:busmon_tap_reports:rate5m",
            "max by (namespace, bus, state) (rate(busmon_tap_reports_total[5m]))",
            """
                What the listener did with its messages, by its tap: passed, dropped or raised.
            """,
        ),
        Recording(
            "bus_state:busmon_listener_messages:rate5m",
            """
                max by (namespace, bus, state) (rate(busmon_listener_messages_total[5m]))
            """,
            "The same by its own monitor: received, processed, dropped, …",
        ),
        Recording(
            "event_task:busmon_celery_task_events:rate5m",
            """
                max by (namespace, event, task) (rate(busmon_celery_task_events_total[5m]))
            """,
            """
                What happened to tasks, by Celery's events: received, started, succeeded, failed, …
            """,
        ),
    ),
)
