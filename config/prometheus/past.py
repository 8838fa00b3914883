"""How a topic is compared with its own past: the number of its messages, and the share to handle.

In the first week there is nothing to compare with. How soon these alerts find a fault, and how
often they are wrong, is in tests/README.md, by a simulation of years.
"""

from annotations import MESSAGES, TOPIC_PAGE, each
from rule import Alert, Recording, group

# Messages of the last day, and the share that the listener should pass on; averages of 6 hours.
DAY = "bus_topic:busmon_messages:avg1d_increase6h"
HANDLED = "bus_topic:busmon_messages_handled:avg1d_increase6h"
SHARE = "bus_topic:busmon_messages_handled:ratio_avg1d"
HOURS = "bus_topic:busmon_messages:increase6h"

A_WEEK_AGO = each(
    f"{SHARE}{{%s}} offset 1w",
    "bus",
    "topic",
    then=", instead of {{ . | value | humanizePercentage }} a week ago",
)

GROUPS = (
    group(
        "busmon-past",
        Recording(
            HOURS,
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
        Recording(DAY, f"avg_over_time({HOURS}[1d])"),
        Recording(HANDLED, "avg_over_time(bus_topic:busmon_messages_handled:increase6h[1d])"),
        Recording(SHARE, f"{HANDLED} / ({DAY} > 0)"),
        Alert(
            name="BusmonTopicLow",
            variant="hours",
            comment="""
                Within hours, if there are enough messages: far fewer than in the same hours of
                yesterday and of a week ago. At a weekend, yesterday differs, and after a mass
                rebuild, only one of the two. The other topics of the bus bring at least half of
                theirs, so it is no holiday. Nor were busmon or Prometheus away: for so long, that
                would include the hour in the middle.
            """,
            expr=f"""
                {HOURS} < $share * ({HOURS} offset 1d >= $messages)
                and {HOURS} < $share * ({HOURS} offset 1w >= $messages)
                and sum by (namespace, bus) ({HOURS}) - on (namespace, bus) group_right () {HOURS}
                  >= 0.5 * (
                    sum by (namespace, bus) ({HOURS} offset 1w)
                      - on (namespace, bus) group_right () {HOURS} offset 1w
                  )
                unless on (namespace, bus, topic) bus_topic:busmon_topic_silent:max == 1
                unless on (namespace, bus, topic) busmon_topic_low == 1
                and on (namespace, bus)
                  max by (namespace, bus) (busmon_bus_connected offset 3h) == 1
            """,
            by=("bus", "topic"),
            summary=f"""
                In the last 6 hours, only {MESSAGES} of {{{{ $labels.topic }}}} arrived on the bus
                {{{{ $labels.bus }}}}, less than $share of what came in these hours yesterday and a
                week ago.
            """,
            what="A part of its publishers has probably stopped.",
            first="""
                Look first at the topic's page, and whether it is known ($status_page); then tell
                $publisher.
            """,
            panel="Messages by topic",
            page=TOPIC_PAGE,
        ),
        Alert(
            name="BusmonHandledShareLow",
            comment="""
                Compared with the share of a week ago, and with the usual one of the week between,
                so neither a weekend nor a day of many builds is a reason. A week ago, at least 40
                messages of the day were to be handled, and now less than half as many are: a flood
                of messages that concern others lowers the share, but is no fault. As many messages
                come as usual: on a holiday, they do not. A share below 10 % depends on the habits
                of a few people, so there only none at all counts.
            """,
            expr=f"""
                {SHARE} < $share * {SHARE} offset 1w
                and {SHARE} < $share * quantile_over_time(0.5, {SHARE}[1w:6h] offset 1d)
                and ({SHARE} offset 1w >= 0.1 or {SHARE} == 0)
                and {HANDLED} < 0.5 * ({HANDLED} offset 1w >= 10)
                and {DAY} >= 0.75 * {DAY} offset 1w
            """,
            by=("bus", "topic"),
            summary=f"""
                Messages of {{{{ $labels.topic }}}} arrive on the bus {{{{ $labels.bus }}}} as
                usual, but in the last day the listener's filters let only {{{{ $value |
                humanizePercentage }}}} of them through{A_WEEK_AGO}.
            """,
            what="""
                Usually a filter or a setting of the listener is wrong, or the messages have
                changed.
            """,
            first="""
                Look first at what was released. `busmon explain` gives the reason for each recorded
                message.
            """,
            panel="Handled share by topic",
            page=TOPIC_PAGE,
        ),
        interval="5m",
        comment="For sums over 6 hours, every 5 minutes is often enough.",
    ),
)
