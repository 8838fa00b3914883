"""Alerts about busmon itself.

Severity: critical wakes somebody up, warning can wait for the morning, none is for machines.
`summary` says what is wrong, `description` what to look at first, and `runbook_url` leads to
the alert's section in ../RUNBOOK.md. `page_url` leads to the page of busmon that shows most of
it, below `[web] public_url`, and is empty without that. It holds for 15 minutes without busmon,
as while its pod is replaced. BusmonDown has none: nobody would answer.

While busmon itself is down or disconnected, what it says about topics and listeners means
nothing: ../../alertmanager/alertmanager.yml has the alerts that suppress others.
"""

from rule import Alert, group

GROUPS = (
    group(
        "busmon-itself",
        Alert(
            name="BusmonDown",
            variant="all",
            comment="""
                No busmon answers: it cannot be scraped, or it was there in the last 6 hours and is
                gone.
            """,
            expr="""
                max by (namespace) (max_over_time(up{job=~"(.+/)?busmon"}[6h]))
                  unless on (namespace) max by (namespace) (up{job=~"(.+/)?busmon"} == 1)
                or absent(up{job=~"(.+/)?busmon"})
            """,
            summary="busmon has not answered for 3 minutes; nobody watches the message buses.",
            first="Look first at its pod or service, and at the end of its log.",
            page=None,
        ),
        Alert(
            name="BusmonDown",
            variant="replica",
            expr="""
                up{job=~"(.+/)?busmon"} == 0
                  and on (namespace) max by (namespace) (up{job=~"(.+/)?busmon"}) == 1
            """,
            summary="""
                The busmon {{ $labels.instance }} has not answered for 15 minutes; another busmon
                still watches the buses.
            """,
            first="Look first at its pod or service, and at the end of its log.",
            page=None,
        ),
        Alert(
            name="BusmonBusDisconnected",
            comment="""
                If busmon cannot write its ledger, it closes its connections, and BusmonBlind fires.
            """,
            expr="""
                max by (namespace, bus) (busmon_bus_connected) == 0
                  unless on (namespace) max by (namespace) (busmon_ledger_up) == 0
            """,
            by=("bus",),
            summary="""
                busmon is not connected to the bus {{ $labels.bus }}; nobody knows whether messages
                arrive on it.
            """,
            first="""
                Look first at busmon's page /ready, which gives the reason. If other clients are
                disconnected, too, it is the broker, and the listener does not receive either.
            """,
        ),
        Alert(
            name="BusmonBlind",
            comment="""
                busmon cannot write its ledger, or has an internal error (one that concerns a single
                bus disconnects that bus: BusmonBusDisconnected). Or the connection is lost again
                and again, each time too briefly for BusmonBusDisconnected. A single long
                disconnection is no reason to wake somebody up when it is over.
            """,
            expr="""
                max by (namespace) (busmon_ledger_up) == 0
                or (
                  min by (namespace) (
                    min by (namespace, bus) (busmon_verdict{kind="busmon"})
                      unless on (namespace, bus) max by (namespace, bus) (busmon_bus_connected) == 0
                  ) == 1
                )
                or (
                  min by (namespace, bus) (rate(busmon_blind_seconds_total[30m])) > 0.1
                    and on (namespace, bus)
                      min by (namespace, bus) (increase(busmon_bus_connects_total[30m])) > 3
                )
            """,
            by=("bus",),
            summary="""
                busmon runs, but {{ if $labels.bus }}loses its connection to the bus {{ $labels.bus
                }} again and again{{ else }}cannot record messages{{ end }}; do not rely on what it
                says about gaps.
            """,
            first="""
                Look first at busmon's page /ready and its log. Usual causes are {{ if $labels.bus
                }}the network, or an overloaded broker{{ else }}a full, failing or read-only disk,
                or a damaged ledger{{ end }}.
            """,
        ),
        Alert(
            name="BusmonRestarting",
            expr="""
                min by (namespace) (
                  changes(process_start_time_seconds[30m])
                    and on (instance, job, namespace) busmon_build_info
                ) > 3
            """,
            summary="""
                busmon restarted {{ printf "%.0f" $value }} times in the last 30 minutes; do not
                rely on what it says about gaps.
            """,
            first="""
                Look first at the end of its log. If the log just stops, busmon was killed, usually
                because it used too much memory.
            """,
        ),
        Alert(
            name="BusmonNoAuditData",
            comment="""
                Without data, no message is counted as missing. That must not look as if all were
                well. The number of unconfirmed messages has no alert of its own: what stays
                unconfirmed is the trace of a fault that has an alert of its own, and nobody can do
                more about it at night.
            """,
            expr="""
                min by (namespace, bus, stage) (
                  increase(busmon_audit_no_data_windows_total[1h])
                ) > 5
                or max by (namespace, bus) (busmon_observer_up{observer="celery"}) == 0
                or time() - max by (namespace) (busmon_audit_last_closed_timestamp_seconds) > 3600
            """,
            by=("bus", "stage"),
            summary="""
                {{ if $labels.stage }}More than 5 windows of the last hour have no data for the
                stage {{ $labels.stage }} of the bus {{ $labels.bus }}{{ range query (printf `max by
                (stage) (busmon_unconfirmed_messages{namespace=%q,bus=%q,stage=%q})`
                $labels.namespace $labels.bus $labels.stage) }}, and {{ . | value | printf "%.0f" }}
                messages are unconfirmed{{ end }}{{ else if $labels.bus }}busmon has not seen the
                workers of the bus {{ $labels.bus }} for 15 minutes{{ else }}busmon has closed no
                window for more than an hour{{ end }}; messages may be missing unnoticed.
            """,
            first="""
                Look first at {{ if $labels.bus }}`busmon status`, which names the observer that is
                down{{ else }}busmon's log{{ end }}.
            """,
        ),
        Alert(
            name="BusmonLedgerNearlyFull",
            expr="busmon_ledger_size_bytes > 0.9 * busmon_ledger_size_limit_bytes",
            summary="""
                busmon's ledger uses {{ $value | humanize1024 }}B, more than 90 % of its size_limit.
            """,
            first="""
                At the limit, busmon deletes the oldest messages early, and counts them again if
                they are redelivered. Raise size_limit in [ledger], or lower retention.
            """,
        ),
        Alert(
            name="Watchdog",
            expr="vector(1)",
            summary="""
                This alert always fires. If it stops, Prometheus or Alertmanager is down, and no
                other alert arrives.
            """,
            first="""
                While it fires, there is nothing to do. Let a service outside raise an alarm when it
                stops.
            """,
            page=None,
        ),
    ),
)
