"""Alerts about topics that are silent, or bring too little."""

from dataclasses import replace

from annotations import TOPIC_PAGE, each, when
from causes import unless_fired
from rule import Alert, group
from silence_recordings import RECORDINGS

ONE_TOPIC = """
    No message of {{ $labels.topic }} has arrived on the bus {{ $labels.bus }} for {{ $value |
    humanizeDuration }}, longer than usual, while other topics flow.
"""
SEVERAL_TOPICS = """
    On the bus {{ $labels.bus }}, {{ $value }} topics became silent at about the same time, and have
    been silent for longer than usual.
"""
OF_THE_BUS = """
    Look first whether others receive messages from this bus, for example Datagrepper. If they do,
    restart busmon. If not, look whether it is known ($status_page); then tell
    $bus_administrators.
"""
OF_THE_PUBLISHER = """
    Look first at `busmon status`, which with [archive] says whether others received messages of the
    topic. If nobody did, look whether it is known ($status_page), and whether there was work that
    should have caused some; then tell $publisher.
"""
OF_SEVERAL = """
    Look first at `busmon status`, and at what their publishers have in common, which may be a
    holiday. For what is known to be down, see $status_page.
"""
SINCE = "busmon_topic_quiet_since_timestamp_seconds{%s}"
TOPIC_SINCE = when("Nothing has come since TIME.", f"max({SINCE})", "bus", "topic")
BUS_SINCE = when(
    "Nothing has come since TIME.", "max(busmon_last_message_timestamp_seconds{%s})", "bus"
)
NOTICED = "This was noticed at TIME."
THE_TOPICS = each(
    "topk(8, bus_topic:busmon_topic_silent_together:max{%s})",
    "bus",
    then="{{ .Labels.topic }}",
    between=", ",
)
TOGETHER = """
    sum by (namespace, bus) (
      bus_topic:busmon_topic_silent_together:max
        and on (namespace, bus, topic) bus_topic:busmon_topic_silent:max == 1
    )
"""
PAGES_TOGETHER = """
    bus_topic:busmon_topic_silence_ratio:max{topic=~"$pages"} > 1.4
      and on (namespace, bus, topic) bus_topic:busmon_topic_silent_together:max
"""
# If a topic woke somebody up by itself before others became silent, too, its alert stays.
ALONE = 'ALERTS{alertname="BusmonTopicSilent", alertstate="firing", severity="critical"}'

ONE_SILENT = Alert(
    name="BusmonTopicSilent",
    variant="pages",
    comment="""
        A topic without which Packit stops, at 1.4 times what is learned, so that false
        alarms are rare; the ratio is above 1.4 beyond a fixed time, too. A topic that is
        gone wakes up nobody. Topics that became silent together have one alert: the one that fired
        first.
    """,
    expr=f"""
        bus_topic:busmon_topic_silent_seconds:min{{topic=~"$pages"}}
          and on (namespace, bus, topic)
            bus_topic:busmon_topic_silence_ratio:max{{topic=~"$pages"}} > 1.4
          unless on (namespace, bus, topic) (
            bus_topic:busmon_topic_silent_together:max unless on (namespace, bus, topic) {ALONE}
          )
    """,
    by=("bus", "topic"),
    summary=ONE_TOPIC,
    what="Its publisher has probably stopped, and Packit waits for it.",
    since=TOPIC_SINCE,
    first=OF_THE_PUBLISHER,
    panel="Silence, as a share of its limit",
    page=TOPIC_PAGE,
)

GROUPS = (
    group("busmon-silence", *RECORDINGS),
    group(
        "busmon-silence-alerts",
        Alert(
            name="BusmonAllTopicsSilent",
            variant="learned",
            comment="""
                The same conditions as for the verdict "bus": some topic is silent for too long, the
                whole bus has been silent for at least half of that time, and the other topics
                should have brought 3 messages since. Or no message ever came, and that of an
                expected topic should have; while busmon is away, what is silent is remembered for
                5 minutes, and that a message came for longer.
            """,
            expr="""
                bus:busmon_last_message_age_seconds:min
                  and on (namespace, bus) (
                    bus:busmon_last_message_age_seconds:min
                      >= min by (namespace, bus) (bus_topic:busmon_topic_silent_seconds:min) / 2
                  )
                  unless on (namespace, bus) bus:busmon_topic_expected_since_last_messages:sum < 3
                or max by (namespace, bus) (bus_topic:busmon_topic_silent_seconds:min)
                  unless on (namespace, bus)
                    max by (namespace, bus) (
                      last_over_time(busmon_last_message_timestamp_seconds[10m])
                    )
            """,
            by=("bus",),
            summary="""
                No message of any topic has arrived on the bus {{ $labels.bus }} for {{ $value |
                humanizeDuration }}, although busmon is connected.
            """,
            what="Either nothing is sent, or busmon does not receive it.",
            since=BUS_SINCE,
            first=OF_THE_BUS,
            panel="Bus volume and processed events",
            page="/topics?bus={{ $labels.bus | urlquery }}&state=silent",
        ),
        ONE_SILENT,
        replace(
            ONE_SILENT,
            variant="other",
            comment="Nobody can do more about any other publisher at night than tell it.",
            expr="""
                bus_topic:busmon_topic_silent_seconds:min
                  unless on (namespace, bus, topic)
                    bus_topic:busmon_topic_silence_ratio:max{topic=~"$pages"} > 1.4
                  unless on (namespace, bus, topic) bus_topic:busmon_topic_silent_together:max
            """,
            what="Its publisher has probably stopped.",
        ),
        Alert(
            name="BusmonTopicsSilent",
            variant="pages",
            comment="""
                The value is the number of topics. Who was woken up because one of them was silent
                alone, or in the last hour the whole bus, knows.
            """,
            expr=f"""
                {TOGETHER}
                  and on (namespace, bus) ({PAGES_TOGETHER})
                  unless on (namespace, bus) (
                    {PAGES_TOGETHER} and on (namespace, bus, topic) {ALONE}
                  )
                  {unless_fired("BusmonAllTopicsSilent", "namespace, bus")}
            """,
            by=("bus",),
            summary=SEVERAL_TOPICS,
            what=f"One cause is likely, and Packit waits for some of them: {THE_TOPICS}.",
            began=NOTICED,
            first=OF_SEVERAL,
            panel="Silence, as a share of its limit",
            page="/topics?bus={{ $labels.bus | urlquery }}&state=silent",
        ),
        Alert(
            name="BusmonTopicsSilent",
            variant="other",
            expr=f"{TOGETHER} unless on (namespace, bus) ({PAGES_TOGETHER})",
            by=("bus",),
            summary=SEVERAL_TOPICS,
            what=f"One cause is likely. They are {THE_TOPICS}.",
            began=NOTICED,
            first=OF_SEVERAL,
            panel="Silence, as a share of its limit",
            page="/topics?bus={{ $labels.bus | urlquery }}&state=silent",
        ),
        Alert(
            name="BusmonTopicLow",
            variant="learned",
            comment="By what busmon has learned of the topic, within a day or two.",
            expr="""
                max by (namespace, bus, topic) (busmon_topic_deficit_messages)
                  and on (namespace, bus, topic) max by (namespace, bus, topic) (
                    busmon_topic_low
                  ) == 1
                  unless on (namespace, bus, topic) bus_topic:busmon_topic_silent:max == 1
            """,
            by=("bus", "topic"),
            summary="""
                Too few messages of {{ $labels.topic }} arrive on the bus {{ $labels.bus }}: {{
                printf "%.0f" $value }} fewer than 40 % of what is usual.
            """,
            what="A part of its publishers has probably stopped.",
            first="""
                Look first at the topic's page, and whether it is known ($status_page); then tell
                $publisher. If the topic has become rarer for good, the alert ends by itself in some
                weeks.
            """,
            panel="Messages by topic",
            page=TOPIC_PAGE,
        ),
    ),
    group(
        "busmon-silence-day",
        Alert(
            name="BusmonAllTopicsSilent",
            variant="day",
            comment="No topic has a baseline yet, and none is expected.",
            expr="""
                min_over_time((max by (namespace, bus) (busmon_bus_connected))[1d:5m]) == 1
                  and on (namespace, bus) busmon_bus_connected offset 1d
                  and on (namespace, bus) last_over_time(busmon_bus_connected[10m])
                  unless on (namespace, bus) bus:busmon_last_message_age_seconds:min < 86400
                  unless on (namespace, bus) busmon_topic_baseline_ready == 1
                  unless on (namespace, bus) bus_topic:busmon_topic_silent:max == 1
            """,
            by=("bus",),
            summary="""
                No message of any topic has arrived on the bus {{ $labels.bus }} for a day, although
                busmon is connected. It is not known yet whether that is usual.
            """,
            what="Either nothing is sent, or busmon does not receive it.",
            since=BUS_SINCE,
            first=OF_THE_BUS,
            panel="Bus volume and processed events",
            page="/topics?bus={{ $labels.bus | urlquery }}&state=silent",
        ),
        interval="5m",
        comment="For a whole day, every 5 minutes is often enough.",
    ),
)
