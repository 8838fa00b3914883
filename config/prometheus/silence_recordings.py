"""What is recorded of the silence of topics."""

from rule import Recording

RECORDINGS = (
    Recording(
        "bus_topic:busmon_topic_silent:max",
        """
            max by (namespace, bus, topic) (
              busmon_topic_silent == 1
                unless (
                  busmon_topic_quiet_since_timestamp_seconds
                    < on (namespace, bus, topic) group_left ()
                      (max by (namespace, bus, topic) (
                        busmon_last_message_timestamp_seconds
                      ) - 60)
                )
            )
            or (
              max by (namespace, bus, topic) (max_over_time(busmon_topic_silent[5m])) == 1
                unless on (namespace)
                  min by (namespace) (
                    process_start_time_seconds
                      and on (instance, job, namespace) busmon_build_info
                  ) < time() - 60
            )
        """,
        """
            1 if a topic is silent. If another busmon received a newer message of the topic, the
            one without it does not count. In the minute after a start, busmon does not know yet
            which topics are silent: those that were silent before still are.
        """,
    ),
    Recording(
        "bus_topic:busmon_topic_silence_ratio:max",
        """
            max by (namespace, bus, topic) (max_over_time(busmon_topic_silence_ratio[5m]))
              unless on (namespace, bus, topic) max_over_time(busmon_topic_gone[5m]) == 1
        """,
        """
            The silence as a part of its limit, of the topics that are not gone. The last 5
            minutes are enough, so that an alert goes on while busmon restarts.
        """,
    ),
    Recording(
        "bus_topic:busmon_topic_silent_together:max",
        """
            max by (namespace, bus, topic) (
              max_over_time(busmon_topic_silent_together[5m])
            ) == 1
        """,
        "The topics that became silent at about the same time as others.",
    ),
    Recording(
        "bus_topic:busmon_topic_silent_seconds:min",
        """
            time()
              - max by (namespace, bus, topic) (
                max_over_time(busmon_topic_quiet_since_timestamp_seconds[5m])
              )
              and on (namespace, bus, topic) bus_topic:busmon_topic_silent:max == 1
        """,
        """
            For how long the topics that are silent have been so, in seconds: since the last
            message, or, if none ever came, since busmon has waited for one.
        """,
    ),
    Recording(
        "bus:busmon_last_message_age_seconds:min",
        """
            time() - max by (namespace, bus) (
              max_over_time(busmon_last_message_timestamp_seconds[5m])
            )
        """,
        """
            The age of the newest message of any topic, in seconds. While busmon restarts, it is
            known for as long as the silence of a topic, and so is what should have come; else
            it would seem that no message ever came.
        """,
    ),
    Recording(
        "bus:busmon_topic_expected_since_last_messages:sum",
        """
            sum by (namespace, bus) (
              min by (namespace, bus, topic) (
                last_over_time(busmon_topic_expected_since_last_messages[5m])
              )
                unless on (namespace, bus, topic) bus_topic:busmon_topic_silent:max
            )
        """,
        """
            The messages that should have come since the last ones, of the topics that are not
            silent.
        """,
    ),
)
