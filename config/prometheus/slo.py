"""Service levels ([slo.NAME]).

Service levels ([slo.NAME]): the share of messages that were late or lost, and alerts if there
are more than the objective allows.

The alerts are those of the SRE workbook (https://sre.google/workbook/alerting-on-slos/), by two
windows each. In the long one, the share that missed is so many times what the objective allows
that a budget of 30 days is soon used up. In the short one it still is, or no message came. An
objective below 0.93 would allow so much that no share is 14.4 times that, so 0.9 is enough.

There may be only some dozens of messages an hour, so five must have missed. Messages of which
nobody knows are in no share.
"""

from rule import Alert, Recording, group

GROUPS = (
    group(
        "busmon-slo",
        Recording(
            "bus_slo:busmon_slo_missed:ratio_increase5m",
            """
                max by (namespace, bus, slo) (
                  increase(busmon_slo_messages_total{within="false"}[5m])
                )
                  / (
                    sum by (namespace, bus, slo) (
                      max by (namespace, bus, slo, within) (
                        increase(busmon_slo_messages_total{within!="unknown"}[5m])
                      )
                    )
                    > 0
                  )
            """,
        ),
        Recording(
            "bus_slo:busmon_slo_missed:ratio_increase30m",
            """
                max by (namespace, bus, slo) (
                  increase(busmon_slo_messages_total{within="false"}[30m])
                )
                  / (
                    sum by (namespace, bus, slo) (
                      max by (namespace, bus, slo, within) (
                        increase(busmon_slo_messages_total{within!="unknown"}[30m])
                      )
                    )
                    > 0
                  )
            """,
        ),
        Recording(
            "bus_slo:busmon_slo_missed:ratio_increase1h",
            """
                max by (namespace, bus, slo) (
                  increase(busmon_slo_messages_total{within="false"}[1h])
                )
                  / (
                    sum by (namespace, bus, slo) (
                      max by (namespace, bus, slo, within) (
                        increase(busmon_slo_messages_total{within!="unknown"}[1h])
                      )
                    )
                    > 0
                  )
            """,
        ),
        Recording(
            "bus_slo:busmon_slo_missed:increase1h",
            """
                max by (namespace, bus, slo) (
                  increase(busmon_slo_messages_total{within="false"}[1h])
                )
            """,
        ),
        Recording(
            "bus_slo:busmon_slo_missed:allowed_ratio",
            "1 - max by (namespace, bus, slo) (busmon_slo_objective)",
            "What the objective allows.",
        ),
    ),
    group(
        "busmon-slo-long",
        Recording(
            "bus_slo:busmon_slo_missed:ratio_increase6h",
            """
                max by (namespace, bus, slo) (
                  increase(busmon_slo_messages_total{within="false"}[6h])
                )
                  / (
                    sum by (namespace, bus, slo) (
                      max by (namespace, bus, slo, within) (
                        increase(busmon_slo_messages_total{within!="unknown"}[6h])
                      )
                    )
                    > 0
                  )
            """,
        ),
        Recording(
            "bus_slo:busmon_slo_missed:ratio_increase3d",
            """
                max by (namespace, bus, slo) (
                  increase(busmon_slo_messages_total{within="false"}[3d])
                )
                  / (
                    sum by (namespace, bus, slo) (
                      max by (namespace, bus, slo, within) (
                        increase(busmon_slo_messages_total{within!="unknown"}[3d])
                      )
                    )
                    > 0
                  )
            """,
        ),
        Recording(
            "bus_slo:busmon_slo_missed:increase6h",
            """
                max by (namespace, bus, slo) (
                  increase(busmon_slo_messages_total{within="false"}[6h])
                )
            """,
        ),
        Recording(
            "bus_slo:busmon_slo_missed:increase3d",
            """
                max by (namespace, bus, slo) (
                  increase(busmon_slo_messages_total{within="false"}[3d])
                )
            """,
        ),
        interval="5m",
        comment="For sums over hours, every 5 minutes is often enough.",
    ),
    group(
        "busmon-slo-alerts",
        Alert(
            name="BusmonServiceLevelFailing",
            expr="""
                (
                  bus_slo:busmon_slo_missed:ratio_increase1h
                    > clamp_max(14.4 * bus_slo:busmon_slo_missed:allowed_ratio, 0.9)
                  and bus_slo:busmon_slo_missed:increase1h >= 5
                  unless bus_slo:busmon_slo_missed:ratio_increase5m
                    <= clamp_max(14.4 * bus_slo:busmon_slo_missed:allowed_ratio, 0.9)
                )
                or (
                  bus_slo:busmon_slo_missed:ratio_increase6h
                    > clamp_max(6 * bus_slo:busmon_slo_missed:allowed_ratio, 0.9)
                  and bus_slo:busmon_slo_missed:increase6h >= 5
                  unless bus_slo:busmon_slo_missed:ratio_increase30m
                    <= clamp_max(6 * bus_slo:busmon_slo_missed:allowed_ratio, 0.9)
                )
            """,
            by=("bus", "slo"),
            summary="""
                Of the messages of the service level {{ $labels.slo }} on the bus {{ $labels.bus }},
                {{ $value | humanizePercentage }} were late or lost in the last hours, far more than
                its objective allows.
            """,
            first="""
                Look first at the delays by stage in the dashboard "Bus volume and gaps", and at
                `busmon status`. They show whether the listener, the queues or the handlers are
                slow, or lose messages.
            """,
            page="/incidents?bus={{ $labels.bus | urlquery }}",
        ),
        Alert(
            name="BusmonServiceLevelAtRisk",
            expr="""
                bus_slo:busmon_slo_missed:ratio_increase3d > bus_slo:busmon_slo_missed:allowed_ratio
                  and bus_slo:busmon_slo_missed:increase3d >= 5
                  unless bus_slo:busmon_slo_missed:ratio_increase6h
                    <= bus_slo:busmon_slo_missed:allowed_ratio
            """,
            by=("bus", "slo"),
            summary="""
                Of the messages of the service level {{ $labels.slo }} on the bus {{ $labels.bus }},
                {{ $value | humanizePercentage }} were late or lost in the last 3 days, more than
                its objective allows.
            """,
            first="""
                Look first at the delays by stage in the dashboard "Bus volume and gaps" over these
                days. If it has always been so, the objective or the bound is too strict.
            """,
            page="/incidents?bus={{ $labels.bus | urlquery }}",
        ),
    ),
)
