"""Causes: who was woken up by one is not woken up again by its effects.

Alertmanager suppresses an effect as long as its cause fires. What counts by the hour goes on after
that, so it asks Prometheus which alerts fired in the last hour.
"""

LISTENER = "BusmonListener(Down|Restarting|Stalled)|BusmonBusDisconnected"
WORKERS = "BusmonQueue(Stuck|Growing)|BusmonTasksFailing"
LOSS = "Busmon(Listener|Worker|Handlers)Gap"


def unless_fired(alerts: str, on: str, matcher: str = "") -> str:
    """Return the end of an expression: nothing if one of these woke somebody up recently."""
    fired = f'ALERTS{{alertname=~"{alerts}", alertstate="firing", severity="critical"{matcher}}}'
    return f"unless on ({on}) max_over_time({fired}[1h])"


# What loses the messages of a stage. The alerts about workers have no bus. A task that fails has
# reached the stage `worker`, and so has one whose handlers wait in another queue.
UNLESS_EXPLAINED = {
    "listener": unless_fired(LISTENER, "namespace, bus"),
    "worker": unless_fired("BusmonQueue(Stuck|Growing)", "namespace", ', queue=~"$queue"'),
    "handlers": unless_fired(WORKERS, "namespace"),
}

# What makes messages late, or loses them.
UNLESS_LATE_BY_A_CAUSE = f"""
    {unless_fired(f"{LISTENER}|{LOSS}", "namespace, bus")}
    {unless_fired(WORKERS, "namespace")}
"""

# Why the workers process too little, whatever the bus.
UNLESS_UNPROCESSED_BY_A_CAUSE = unless_fired(f"{LISTENER}|{LOSS}|{WORKERS}", "namespace")

# The same fault of the workers seen from the other side, which has no bus.
WORKERS_LOSE = 'ALERTS{alertname="BusmonWorkerGap", alertstate="firing", severity="critical"}'
