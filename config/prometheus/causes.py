"""Causes: who was woken up by one is not woken up again by its effects.

Alertmanager suppresses an effect as long as its cause fires. What counts by the hour goes on after
that, so it asks Prometheus which alerts fired recently.
"""

LISTENER = "BusmonListener(Down|Restarting|Stalled)|BusmonBusDisconnected"
WORKERS = "BusmonQueue(Stuck|Growing)|BusmonTasksFailing"
LOSS = "Busmon(Listener|Worker|Handlers)Gap"


def fired(alerts: str, span: str = "1h", matcher: str = "") -> str:
    """Return an expression: one of these woke somebody up in this time."""
    series = f'ALERTS{{alertname=~"{alerts}", alertstate="firing", severity="critical"{matcher}}}'
    return f"max_over_time({series}[{span}])"


def unless_fired(alerts: str, on: str, span: str = "1h", matcher: str = "") -> str:
    """Return the end of an expression: nothing if one of these woke somebody up in this time."""
    return f"unless on ({on}) {fired(alerts, span, matcher)}"


# What a listener lost while it was away is counted at once when it is back. If it still loses
# messages 20 minutes later, that is another fault.
UNLESS_LOST_BY_AN_ABSENCE = f"""
    unless on (namespace, bus) (
      {fired(LISTENER)}
        unless on (namespace, bus) (
          sum by (namespace, bus) (
            max by (namespace, bus, topic) (
              increase(busmon_audit_missing_total{{stage="listener", topic!="__other__"}}[15m])
            )
          ) >= $messages
          unless on (namespace, bus) {fired(LISTENER, "20m")}
        )
    )
"""

# What loses the messages of a stage. The alerts about workers have no bus. A task that fails has
# reached the stage `worker`, and so has one whose handlers wait in another queue.
UNLESS_EXPLAINED = {
    "listener": UNLESS_LOST_BY_AN_ABSENCE,
    "worker": unless_fired("BusmonQueue(Stuck|Growing)", "namespace", matcher=', queue=~"$queue"'),
    "handlers": unless_fired(WORKERS, "namespace"),
}

# What makes messages late, or loses them. Workers that were away first do what waited: for an hour
# after that, messages are still late.
UNLESS_LATE_BY_A_CAUSE = f"""
    {unless_fired(f"{LISTENER}|{LOSS}", "namespace, bus")}
    {unless_fired(WORKERS, "namespace", "2h")}
"""

# Why the workers process too little, whatever the bus.
UNLESS_UNPROCESSED_BY_A_CAUSE = unless_fired(f"{LISTENER}|{LOSS}|{WORKERS}", "namespace")

# The same fault of the workers seen from the other side, which has no bus.
WORKERS_LOSE = 'ALERTS{alertname="BusmonWorkerGap", alertstate="firing", severity="critical"}'
