"""Events that Packit's workers processed, against messages to be handled.

A rough comparison that needs nothing in the listener. The workers count the events that they
process on Packit's push gateway, and events_processed_total includes the webhooks of GitHub,
GitLab and Testing Farm. Those that GitHub's counter accepted are subtracted if it is scraped, the
others never. So a ratio above 1 is usual. Webhooks can hide that no message of a bus is processed:
then only the comparison with the past shows it, or nothing does.

All is by namespace, so the series of the gateway need the same label as those of busmon.
"""

from annotations import NUMBER, each
from causes import UNLESS_UNPROCESSED_BY_A_CAUSE
from rule import Alert, Recording, group

# In the quarter of an hour after busmon was away from a bus, it catches up: it counts more messages
# than came. Half an hour ago it was connected, or brings nothing now.
CATCHING_UP = """
    avg_over_time(bus:busmon_messages_handled:rate5m[15m]) > 0
      unless on (namespace, bus) max by (namespace, bus) (busmon_bus_connected offset 30m) == 1
"""

# The workers' queue has grown by at least half of what was to be handled: events wait. So do
# webhooks, and as all of GitHub's are subtracted, it looks as if no message was processed. Workers
# that crash with each task process no webhook either.
WAITING = """
    sum by (namespace) (
      max by (namespace, queue) (delta(busmon_celery_queue_tasks{queue=~"$queue"}[15m]))
    )
      >= on (namespace) 0.5 * namespace:busmon_messages_handled:rate15m * 900
      and on (namespace) sum by (namespace) (rate(events_processed_total[15m]))
        >= $share * namespace:busmon_messages_handled:rate15m
"""

COUNTS = "".join(
    (
        "The listener does not pass messages on, or the workers do not take them.",
        each(
            "max(namespace:busmon_messages_handled:rate15m{%s}) * 900",
            then=f" In the last 15 minutes, {NUMBER} messages were to be handled.",
        ),
        each(
            "max(namespace:packit_events_processed:rate15m{%s}) * 900",
            then=f" In the same time, {NUMBER} events were processed.",
        ),
    )
)

GROUPS = (
    group(
        "busmon-packit",
        Recording(
            "namespace:packit_events_processed:rate15m",
            """
                clamp_min(
                  sum by (namespace) (rate(events_processed_total[15m]))
                    - on (namespace) sum by (namespace) (
                      rate(github_webhook_calls_total{result="accepted"}[15m])
                    ),
                  0
                )
                or sum by (namespace) (rate(events_processed_total[15m]))
            """,
            "Only accepted calls of GitHub become events.",
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
            "namespace:packit_events_processed:ratio_rate15m",
            """
                namespace:packit_events_processed:rate15m
                  / (namespace:busmon_messages_handled:rate15m > 0)
            """,
        ),
        Recording(
            "namespace:packit_events_processed:ratio_avg1h",
            """
                avg_over_time(namespace:packit_events_processed:rate15m[1h])
                  / (avg_over_time(namespace:busmon_messages_handled:rate15m[1h]) * 3600 >= 10)
                  * 3600
            """,
            "The same of an hour, if at least 10 messages were to be handled. For comparisons.",
        ),
        Alert(
            name="BusmonEventsNotProcessed",
            variant="none",
            comment="""
                A gateway that answers without the counter, which it had in the last day, has
                restarted, and no worker has pushed since. GitHub's calls may be more than those
                that are counted as events. So either all events, with webhooks, are too few, or the
                ratio was good at some time in the last week. If events wait in the queue and some
                are processed, they are late: BusmonQueueGrowing and the service levels. What has an
                alert of the listener or the workers is known.
            """,
            expr=f"""
                (
                  namespace:packit_events_processed:rate15m
                  or 0 * max by (namespace) (last_over_time(events_processed_total[1d]))
                    and on (namespace) max by (namespace) ({{__name__="up", $gateway}}) == 1
                )
                < $share * namespace:busmon_messages_handled:rate15m
                and namespace:busmon_messages_handled:rate15m * 900 >= $messages
                and (
                  sum by (namespace) (rate(events_processed_total[15m]))
                    < $share * namespace:busmon_messages_handled:rate15m
                  or on (namespace)
                    quantile_over_time(0.9, namespace:packit_events_processed:ratio_avg1h[1w]) > 0.5
                )
                unless on (namespace) ({CATCHING_UP})
                unless on (namespace) ({WAITING})
                {UNLESS_UNPROCESSED_BY_A_CAUSE}
            """,
            summary="""
                Packit's workers have processed next to nothing for $for, while messages to be
                handled arrived.
            """,
            what=COUNTS,
            first="""
                Look first whether the listener (at Packit packit-service-fedmsg) and the workers
                (packit-worker-*) run, and at the length of Celery's queues.
            """,
            panel="Bus volume and processed events",
        ),
        Alert(
            name="BusmonEventsNotProcessed",
            variant="few",
            comment="""
                Half of what was reached in nine of ten hours of the last week, which has nights and
                a weekend; after a day there is enough of it.
            """,
            expr=f"""
                namespace:packit_events_processed:ratio_avg1h
                  < $share * quantile_over_time(
                    0.1, namespace:packit_events_processed:ratio_avg1h[1w] offset 1h
                  )
                and namespace:packit_events_processed:ratio_avg1h offset 1d
                unless on (namespace) namespace:packit_events_processed:ratio_rate15m < 0.1
                unless on (namespace) ({CATCHING_UP})
            """,
            summary="""
                Packit's workers process {{ printf "%.2f" $value }} events for each message to be
                handled, less than $share of what is usual.
            """,
            what=COUNTS,
            first="""
                Look first whether the listener (at Packit packit-service-fedmsg) and the workers
                (packit-worker-*) run, and whether fewer webhooks come than usual, which also count.
            """,
            panel="Bus volume and processed events",
        ),
        Alert(
            name="BusmonGatewayDown",
            comment="Without it, BusmonEventsNotProcessed knows nothing.",
            expr='max by (namespace) ({__name__="up", $gateway}) == 0',
            summary="""
                Packit's push gateway has not answered for $for; nobody knows how many events the
                workers process.
            """,
            what="Prometheus cannot scrape it.",
            first="Look first at its pod, and at its log.",
            panel="Bus volume and processed events",
        ),
        interval="1m",
    ),
)
