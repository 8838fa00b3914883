"""Alerts about the archive, with [archive].

Counting needs nothing of it, so nobody is woken up.
"""

from annotations import MESSAGES, each
from rule import Alert, group

TOPICS = each(
    'topk(3, max by (topic) (busmon_archive_difference_messages{%s,side="archive"}) > 0)',
    "bus",
    then="{{ .Labels.topic }}",
    between=", ",
)

GROUPS = (
    group(
        "busmon-archive",
        Alert(
            name="BusmonArchiveDown",
            comment="It may be away for hours.",
            expr="""
                max by (namespace, bus) (
                  max_over_time(busmon_observer_up{observer="archive"}[1h])
                ) == 0
            """,
            by=("bus",),
            summary="The archive of the bus {{ $labels.bus }} has not answered busmon for $for.",
            what="""
                Messages are counted as usual, but blind times are not filled, and silence has no
                second witness.
            """,
            first="""
                Look first at busmon's log, which says why. Then open the `url` of [archive] in a
                browser.
            """,
            panel="Connections and observers",
        ),
        Alert(
            name="BusmonArchiveHasMore",
            expr="""
                sum by (namespace, bus) (
                  max by (namespace, bus, topic) (
                    busmon_archive_difference_messages{side="archive"}
                  )
                ) > 0
            """,
            by=("bus",),
            summary=f"""
                The archive has {MESSAGES} of the bus {{{{ $labels.bus }}}} from the last day that
                busmon did not receive.
            """,
            what=f"Most of them are of {TOPICS}.",
            first="""
                Look first at what busmon subscribes to (`busmon check-config`), and whether its
                queue was full. A listener with a queue of its own may have received them.
            """,
            panel="Messages that only one side has",
        ),
        Alert(
            name="BusmonBlindTimeNotFilled",
            comment="""
                Only when a blind time ends like this: nobody can end it by filling it later.
            """,
            expr="""
                sum by (namespace, bus) (
                  max by (namespace, bus, state) (
                    busmon_archive_blind_seconds{state=~"partly|not"}
                      - min_over_time(busmon_archive_blind_seconds{state=~"partly|not"}[1d])
                  )
                ) > $seconds
            """,
            by=("bus",),
            summary="""
                busmon did not receive from the bus {{ $labels.bus }} for {{ $value |
                humanizeDuration }}, and the archive does not have all of that time.
            """,
            what="What came in that time is not known, and none of it is called missing.",
            first="""
                Look first at `/ready`, which lists the blind times and what the archive has of
                them.
            """,
            panel="Connections and observers",
        ),
        interval="1m",
        comment="The archive is asked every few minutes, and one range is a day.",
    ),
)
