"""Service levels ([slo.NAME]): alerts if more messages are late or lost than the objective allows.

The alerts are those of the SRE workbook (https://sre.google/workbook/alerting-on-slos/), by two
windows each. In the long one, the share that missed is so many times what the objective allows
that a budget of 30 days is soon used up. In the short one it still is, or no message came. An
objective below 0.93 would allow so much that no share is 14.4 times that, so 0.9 is enough.

There may be only some dozens of messages an hour, so five must have missed. Messages of which
nobody knows are in no share.
"""

from causes import UNLESS_LATE_BY_A_CAUSE
from rule import Alert, Recording, group

LATE = """
    Of the messages of the service level {{ $labels.slo }} on the bus {{ $labels.bus }}, {{ $value |
    humanizePercentage }} were late or lost in the last
"""


def missed(span: str) -> tuple[Recording, Recording]:
    """Return the rules for how many messages of this time missed, and for their share."""
    number = f"""
        max by (namespace, bus, slo) (
          increase(busmon_slo_messages_total{{within="false"}}[{span}])
        )
    """
    every = f"""
        sum by (namespace, bus, slo) (
          max by (namespace, bus, slo, within) (
            increase(busmon_slo_messages_total{{within!="unknown"}}[{span}])
          )
        )
    """
    return (
        Recording(f"bus_slo:busmon_slo_missed:increase{span}", number),
        Recording(
            f"bus_slo:busmon_slo_missed:ratio_increase{span}",
            f"bus_slo:busmon_slo_missed:increase{span} / ({every} > 0)",
        ),
    )


def burns(long: str, short: str, factor: str) -> str:
    """Return the condition that the share was too high for the long time, and still is."""
    allowed = f"clamp_max({factor} * bus_slo:busmon_slo_missed:allowed_ratio, 0.9)"
    return f"""
        bus_slo:busmon_slo_missed:ratio_increase{long} > {allowed}
          and bus_slo:busmon_slo_missed:increase{long} >= $messages
          unless bus_slo:busmon_slo_missed:ratio_increase{short} <= {allowed}
    """


GROUPS = (
    group(
        "busmon-slo",
        *missed("5m"),
        *missed("30m"),
        *missed("1h"),
        Recording(
            "bus_slo:busmon_slo_missed:allowed_ratio",
            "1 - max by (namespace, bus, slo) (busmon_slo_objective)",
            "What the objective allows.",
        ),
        interval="1m",
    ),
    group(
        "busmon-slo-long",
        *missed("6h"),
        *missed("3d"),
        interval="5m",
        comment="For sums over hours, every 5 minutes is often enough.",
    ),
    group(
        "busmon-slo-alerts",
        Alert(
            name="BusmonServiceLevelFailing",
            comment="""
                With a cause that has an alert of its own, that one wakes somebody up. It fires
                first, since this one waits.
            """,
            expr=f"""
                ({burns("1h", "5m", "14.4")} or {burns("6h", "30m", "6")})
                {UNLESS_LATE_BY_A_CAUSE}
            """,
            by=("bus", "slo"),
            summary=f"{LATE} hours, far more than its objective allows.",
            what="If this goes on, what the objective allows in 30 days is used up in a few days.",
            first="""
                Look first at the delays by stage in the dashboard, and at `busmon status`. They
                show whether the listener, the queues or the handlers are slow, or lose messages.
            """,
            panel="Service levels",
            page="/incidents?bus={{ $labels.bus | urlquery }}",
        ),
        Alert(
            name="BusmonServiceLevelAtRisk",
            expr=burns("3d", "6h", "1"),
            by=("bus", "slo"),
            summary=f"{LATE} 3 days, more than its objective allows.",
            what="If this goes on, the objective is missed.",
            first="""
                Look first at the delays by stage in the dashboard over these days. If it has always
                been so, the objective or the bound is too strict.
            """,
            panel="Service levels",
            page="/incidents?bus={{ $labels.bus | urlquery }}",
        ),
        interval="1m",
    ),
)
