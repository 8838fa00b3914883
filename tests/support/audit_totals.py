"""The counters of the audit of a running busmon."""

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from tests.support.brokers import wait_until
from tests.support.busmon_process import Busmon

Totals = Counter[tuple[str, str]]  # by name and stage


def audit_totals(busmon: Busmon) -> Totals:
    """Return the audit's counters by name and stage, without the zeros."""
    names = ("messages", "missing", "recovered", "unexpected", "no_data_windows")
    query = "&".join(f"name[]=busmon_audit_{name}_total" for name in names)
    _, lines = busmon.ask(f"/metrics?{query}")
    totals = {
        (sample.name[len("busmon_audit_") : -len("_total")], sample.labels["stage"]): sample.value
        for family in text_string_to_metric_families("\n".join(lines) + "\n")
        for sample in family.samples
        if sample.value
    }
    return Counter({place: int(total) for place, total in totals.items()})


def totals_when_closed(busmon: Busmon, end: float) -> Totals:
    """Return the totals when the windows that begin before `end` are closed."""
    wait_until(lambda: closed_until(busmon) >= end, what="the windows")
    return audit_totals(busmon)


def closed_until(busmon: Busmon) -> float:
    name = "busmon_audit_last_closed_timestamp_seconds"
    _, lines = busmon.ask(f"/metrics?name[]={name}")
    return next(float(line.split()[1]) for line in lines if line.startswith(name))
