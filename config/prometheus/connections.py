"""Alerts about busmon's connections to the buses, and about a busmon that cannot record."""

from rule import Alert, Recording

READY = "Look first at busmon's page /ready, which gives the reason."
HOW_BLIND = """
    {{ if $labels.bus }}In the last 30 minutes, it was without a connection for {{ $value |
    humanizePercentage }} of the time.{{ else }}It acknowledges nothing that it cannot record, so
    the brokers keep the messages.{{ end }}
"""
CAUSES = """
    Usual causes are {{ if $labels.bus }}the network, or an overloaded broker{{ else }}a full,
    failing or read-only disk, a damaged ledger, or a database of the ledger that is down or cannot
    be reached{{ end }}.
"""
# If busmon cannot write its ledger, it closes its connections: that is BusmonBlind.
UNABLE_TO_WRITE = "max by (namespace) (busmon_ledger_up) == 0"
ALL_UNSTABLE = """
    count by (namespace) (bus:busmon_bus_unstable:min)
      == count by (namespace) (bus:busmon_bus_connected:max) > 1
"""

RECORDINGS = (
    Recording(
        "bus:busmon_bus_connected:max",
        "max by (namespace, bus) (busmon_bus_connected)",
        "1 if any busmon is connected to the bus.",
    ),
    Recording(
        "namespace:busmon_bus_disconnected:count",
        """
            count by (namespace) (bus:busmon_bus_connected:max == 0)
              == count by (namespace) (bus:busmon_bus_connected:max)
            > 1
        """,
        "The number of buses, if there are several and none of them is connected.",
    ),
    Recording(
        "bus:busmon_bus_unstable:min",
        """
            min by (namespace, bus) (rate(busmon_blind_seconds_total[30m])) > 0.1
              and on (namespace, bus)
                min by (namespace, bus) (increase(busmon_bus_connects_total[30m])) > 3
        """,
        """
            The share of time without a connection, if it is lost again and again. A single long
            disconnection is no reason to wake somebody up when it is over.
        """,
    ),
)

DISCONNECTED = (
    Alert(
        name="BusmonDisconnected",
        comment="""
            None of several buses: that is the network of busmon. The protocols notice it after
            seconds or after minutes. Whoever is first, the alert of a single bus waits for as long
            as this one, and does not begin once the last connection is lost. One that fires goes
            on, so that it is not resolved while this one waits.
        """,
        expr=f"""
            (
              namespace:busmon_bus_disconnected:count
              or {ALL_UNSTABLE}
            )
            unless on (namespace) {UNABLE_TO_WRITE}
        """,
        summary="""
            busmon reaches none of its {{ $value }} buses; nobody knows whether messages arrive on
            them.
        """,
        what="Several brokers at once are rarely the cause: usually it is the network of busmon.",
        first=f"{READY} Then look whether other pods or programs there reach the internet.",
        panel="Connections and observers",
    ),
    Alert(
        name="BusmonBusDisconnected",
        variant="all",
        expr=f"""
            bus:busmon_bus_connected:max == 0
              unless on (namespace, bus) (
                bus:busmon_bus_connected:max
                  and on (namespace) namespace:busmon_bus_disconnected:count
                  unless on (namespace, bus) ALERTS{{
                    alertname="BusmonBusDisconnected", alertstate="firing", instance=""
                  }}
              )
              unless on (namespace) {UNABLE_TO_WRITE}
        """,
        by=("bus",),
        summary="""
            busmon has not been connected to the bus {{ $labels.bus }} for $for; nobody knows
            whether messages arrive on it.
        """,
        what="busmon tries again at least every 30 seconds.",
        first=f"""
            {READY} If other clients are disconnected, too, it is the broker, and the listener does
            not receive either.
        """,
        panel="Connections and observers",
    ),
    Alert(
        name="BusmonBusDisconnected",
        variant="replica",
        expr="""
            max by (namespace, bus, instance) (busmon_bus_connected) == 0
              and on (namespace, bus) bus:busmon_bus_connected:max == 1
              unless on (namespace, instance) busmon_ledger_up == 0
        """,
        by=("bus", "instance"),
        summary="""
            The busmon {{ $labels.instance }} has not been connected to the bus {{ $labels.bus }}
            for $for; another busmon still is.
        """,
        what="The broker runs, since the other busmon is connected.",
        first="Look first at its page /ready, which gives the reason.",
        panel="Connections and observers",
    ),
)

BLIND = (
    Alert(
        name="BusmonBlind",
        variant="all",
        comment="""
            busmon cannot write its ledger, or has an internal error (one that concerns a single bus
            disconnects that bus: BusmonBusDisconnected). Or a connection is lost again and again,
            each time too briefly for BusmonBusDisconnected.
        """,
        expr=f"""
            {UNABLE_TO_WRITE}
            or min by (namespace) (
              min by (namespace, bus) (busmon_verdict{{kind="busmon"}})
                unless on (namespace, bus) bus:busmon_bus_connected:max == 0
            ) == 1
            or bus:busmon_bus_unstable:min unless on (namespace) {ALL_UNSTABLE}
        """,
        by=("bus",),
        summary="""
            busmon runs, but {{ if $labels.bus }}loses its connection to the bus {{ $labels.bus }}
            again and again{{ else }}cannot record messages{{ end }}; do not rely on what it says
            about gaps.
        """,
        what=HOW_BLIND,
        first=f"Look first at busmon's page /ready and its log. {CAUSES}",
        panel="Connections and observers",
    ),
    Alert(
        name="BusmonBlind",
        variant="replica",
        expr="""
            (
              max by (namespace, instance) (busmon_ledger_up) == 0
              or min by (namespace, instance) (
                max by (namespace, instance, bus) (busmon_verdict{kind="busmon"})
                  unless on (namespace, instance, bus) busmon_bus_connected == 0
              ) == 1
            )
            and on (namespace)
              count by (namespace) (max by (namespace, instance) (busmon_ledger_up)) > 1
            unless on (namespace) max by (namespace) (busmon_ledger_up) == 0
            or (
              max by (namespace, bus, instance) (rate(busmon_blind_seconds_total[30m])) > 0.1
                and on (namespace, bus, instance) increase(busmon_bus_connects_total[30m]) > 3
                and on (namespace, bus)
                  min by (namespace, bus) (rate(busmon_blind_seconds_total[30m])) <= 0.1
            )
        """,
        by=("bus", "instance"),
        summary="""
            The busmon {{ $labels.instance }} {{ if $labels.bus }}loses its connection to the bus {{
            $labels.bus }} again and again{{ else }}cannot record messages{{ end }}; another busmon
            still watches the buses.
        """,
        what=HOW_BLIND,
        first=f"Look first at its page /ready and its log. {CAUSES}",
        panel="Connections and observers",
    ),
)
