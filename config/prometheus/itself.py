"""Alerts about busmon itself.

While busmon is down or disconnected, what it says about topics and listeners means nothing:
../../alertmanager/alertmanager.yml has the alerts that suppress others. One cause that could have
several alerts here is decided in the rules, since which of them fires first is chance.

Several busmons may watch the same buses, each with an `instance`. What all of them have is
critical. What only some have is a warning with their instance.
"""

from annotations import when
from connections import BLIND, DISCONNECTED, RECORDINGS
from rule import Alert, Recording, group

LOG = "Look first at its pod or service, and at the end of its log."
KILLED = "If the log just stops, busmon was killed, usually because it used too much memory."
SEEN = Recording(
    "namespace:busmon_up:last_timestamp_seconds",
    """
        max by (namespace) (up == 1) * time()
          or last_over_time(namespace:busmon_up:last_timestamp_seconds[1d])
            > time() - 30 * 86400
    """,
    """
        When Prometheus last reached a busmon, remembered for 30 days. So a busmon that is gone with
        its target is missed, also while another namespace has one. A Prometheus that was down for a
        day has forgotten it.
    """,
)

RESTARTS = Recording(
    "instance:busmon_restarts:changes30m",
    """
        max by (namespace, instance) (
          changes(process_start_time_seconds[30m])
            and on (instance, job, namespace) busmon_build_info
        )
    """,
    "How often each busmon restarted.",
)

# A crash loop is one fault: its pauses are short at first, and long later. Which of the two fires
# first stays: BusmonRestarting suppresses BusmonDown in Alertmanager, so that there is an alert
# without a break if busmon does not start any more, and does not begin after BusmonDown. Restarts
# count for half an hour.
FIRING = 'ALERTS{alertname="Busmon%s", alertstate="firing", instance=""}'
UNLESS_DOWN = f"""
    unless on (namespace) (
      max_over_time({FIRING % "Down"}[30m]) unless on (namespace) {FIRING % "Restarting"}
    )
"""

DOWN = (
    Alert(
        name="BusmonRestarting",
        variant="all",
        expr=f"min by (namespace) (instance:busmon_restarts:changes30m) > $restarts {UNLESS_DOWN}",
        summary="""
            busmon restarted {{ printf "%.0f" $value }} times in the last 30 minutes; do not rely on
            what it says about gaps.
        """,
        what="It ended soon after each start, so most windows have no data.",
        first=f"Look first at the end of its log. {KILLED}",
        panel="Memory of busmon",
    ),
    Alert(
        name="BusmonRestarting",
        variant="replica",
        expr="""
            instance:busmon_restarts:changes30m > $restarts
              unless on (namespace)
                min by (namespace) (instance:busmon_restarts:changes30m) > $restarts
        """,
        by=("instance",),
        summary="""
            The busmon {{ $labels.instance }} restarted {{ printf "%.0f" $value }} times in the last
            30 minutes; another busmon still watches the buses.
        """,
        what="It ended soon after each start.",
        first=f"Look first at the end of its log. {KILLED}",
        panel="Memory of busmon",
    ),
    Alert(
        name="BusmonDown",
        variant="all",
        comment="""
            No busmon answers: it was there in the last 30 days and is gone, or never answered yet,
            or nothing looks for one. The alert goes on for a while, since a busmon that answers
            between two crashes is not well.
        """,
        expr="""
            (
              namespace:busmon_up:last_timestamp_seconds
                unless on (namespace) max by (namespace) (up) == 1
              or max by (namespace) (up) == 0
              or absent(up) unless on () namespace:busmon_up:last_timestamp_seconds
            )
        """,
        summary="busmon has not answered for $for; nobody watches the message buses.",
        what="Prometheus cannot scrape it.",
        since=when(
            "It last answered at TIME.", "max(namespace:busmon_up:last_timestamp_seconds{%s})"
        ),
        first=LOG,
        panel="busmon up",
        page=None,
        remembered="1w",
    ),
    Alert(
        name="BusmonDown",
        variant="replica",
        expr="""
            max by (namespace, instance) (up) == 0
              and on (namespace) max by (namespace) (up) == 1
        """,
        by=("instance",),
        summary="""
            The busmon {{ $labels.instance }} has not answered for $for; another busmon still
            watches the buses.
        """,
        what="Prometheus cannot scrape it.",
        first=LOG,
        panel="busmon up",
        page=None,
    ),
)

OTHERS = (
    Alert(
        name="BusmonNoAuditData",
        comment="""
            Without data, no message is counted as missing. That must not look as if all were well.
            The number of unconfirmed messages has no alert of its own: what stays unconfirmed is
            the trace of a fault that has an alert of its own, and nobody can do more about it at
            night.
        """,
        expr="""
            min by (namespace, bus, stage) (
              increase(busmon_audit_no_data_windows_total[1h])
            ) > $windows
            or max by (namespace, bus) (busmon_observer_up{observer="celery"}) == 0
            or time() - max by (namespace) (busmon_audit_last_closed_timestamp_seconds) > 3600
        """,
        by=("bus", "stage"),
        summary="""
            {{ if $labels.stage }}More than $windows windows of the last hour have no data for the
            stage {{ $labels.stage }} of the bus {{ $labels.bus }}{{ else if $labels.bus }}busmon
            has not seen the workers of the bus {{ $labels.bus }} for $for{{ else }}busmon has
            closed no window for more than an hour{{ end }}; messages may be missing unnoticed.
        """,
        what="""
            What nobody saw does not count as missing{{ if $labels.stage }}{{ range query (printf
            `max(busmon_unconfirmed_messages{namespace=%q,bus=%q,stage=%q})` $labels.namespace
            $labels.bus $labels.stage) }}: {{ . | value | printf "%.0f" }} message{{ if eq
            (value .) 1.0 }} is{{ else }}s are{{ end }} unconfirmed{{ end }}{{ end }}.
        """,
        first="""
            Look first at {{ if $labels.bus }}`busmon status`, which names the observer that is
            down{{ else }}busmon's log{{ end }}.{{ if $labels.stage }} If none is down any more, the
            alert ends by itself within an hour.{{ end }}
        """,
        panel="Connections and observers",
    ),
    Alert(
        name="BusmonLedgerNearlyFull",
        expr="""
            max by (namespace, instance) (
              busmon_ledger_size_bytes > $percent / 100 * busmon_ledger_size_limit_bytes
            )
        """,
        by=("instance",),
        summary="""
            The ledger of the busmon {{ $labels.instance }} has {{ $value | humanize1024 }}B, more
            than $percent % of its size_limit.
        """,
        what="""
            At the limit, busmon deletes the oldest messages early, and counts them again if they
            are redelivered.
        """,
        first="Raise size_limit in [ledger], or lower retention.",
        panel="Ledger size",
    ),
    Alert(
        name="Watchdog",
        expr="vector(1)",
        summary="""
            This alert always fires. If it stops, Prometheus or Alertmanager is down, and no other
            alert arrives.
        """,
        what="While it fires, there is nothing to do.",
        first="Let a service outside raise an alarm when it stops.",
        page=None,
    ),
)

GROUPS = (
    group("busmon-seen", SEEN, interval="1m"),
    group("busmon-itself", RESTARTS, *RECORDINGS, *DOWN, *DISCONNECTED, *BLIND, *OTHERS),
)
