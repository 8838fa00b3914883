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
            "bus:busmon_messages_handled:rate5m",
            """
                sum by (namespace, bus) (
                  max by (namespace, bus, topic, reason) (
                    rate(busmon_messages_total{outcome="handled", topic!="__other__"}[5m])
                  )
                )
            """,
            "How many messages a second the listener should pass on.",
        ),
    ),
)
