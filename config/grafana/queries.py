"""PromQL of the dashboards: raw metrics, no recording rule is needed.

Several busmons may watch one bus. Each sees every message, so their series are never added up:
`max by` takes the largest, and drops the labels of the scrape.

The count of a topic that no longer comes is added to that of the topic `__other__`, which jumps
then. So no query takes the increase of `__other__`: those have `GROWING` instead of `TOPIC`.
"""

NAMESPACE = 'namespace="$namespace"'
# All of the job are busmon's, so another program's metrics, or a replay's, are in no panel.
BUSMON = f'{NAMESPACE},job=~"$job",instance=~"$instance"'
BUS = f'{BUSMON},bus=~"$bus"'
TOPIC = f'{BUS},topic=~"$topic"'
GROWING = f'{TOPIC},topic!="__other__"'
MESSAGE_LABELS = "bus, topic, outcome, reason"
STAGE_LABELS = "bus, topic, stage"
RATE_INTERVAL = "[$__rate_interval]"
# The step of queries with `audited_per_minute`, and of what is compared with them or is as rare:
# $__rate_interval is at least four steps.
HALF_A_WINDOW = "${half_window}s"
# All topics of a bus begin with the same words. They only take up room in a legend.
PREFIX = "(?:org[.](?:fedoraproject|release-monitoring)[.][a-z]+[.]|git[.]centos[.]org/)?(.*)"


def current(metric: str, matchers: str, labels: str) -> str:
    """Return the value of a gauge by these labels."""
    return f"max by ({labels}) ({metric}{{{matchers}}})"


def increase(metric: str, matchers: str, labels: str, span: str = "$__range") -> str:
    """Return the increase of a counter by these labels, by default over the time shown."""
    return f"max by ({labels}) (increase({metric}{{{matchers}}}[{span}]))"


def per_minute(metric: str, matchers: str, labels: str, by: str = "") -> str:
    """Return the increase of a counter a minute: `labels` are all its own, `by` those to keep."""
    each = f"max by ({labels}) (rate({metric}{{{matchers}}}{RATE_INTERVAL}))"
    return f"60 * sum by ({by}) ({each})"


def audited_per_minute(metric: str, matchers: str, by: str) -> str:
    """Return the increase of a counter of the audit in a minute of the windows that were closed.

    Such a counter grows once a window. How many windows are closed in a range depends on where it
    begins, so the increase is divided by the time of just these windows, not by the range. A query
    with it has the step `HALF_A_WINDOW`, so that the range has at least two of them.
    """
    closed = f"rate(busmon_audit_last_closed_timestamp_seconds{{{BUSMON}}}{RATE_INTERVAL}) > 0"
    each = (
        f"rate({metric}{{{matchers}}}{RATE_INTERVAL})"
        f" / on (namespace, job, instance) group_left () ({closed})"
    )
    return f"60 * sum by ({by}) (max by ({STAGE_LABELS}) ({each}))"


def others_per_minute(metric: str, matchers: str = NAMESPACE) -> str:
    """Return the increase a minute of a counter whose processes share the work: their sum."""
    return f"60 * sum(rate({metric}{{{matchers}}}{RATE_INTERVAL}))"


def with_short_topic(expr: str) -> str:
    """Return the series with a label `name`: the topic without its prefix."""
    return f'label_replace({expr}, "name", "$1", "topic", "{PREFIX}")'


def events_processed(calls: str, webhooks: str) -> str:
    """Return the events that Packit processed less GitHub's webhooks, if these are counted."""
    return f"clamp_min({calls} - ({webhooks} or 0 * {calls}), 0)"


EVENTS_PROCESSED = events_processed(
    others_per_minute("events_processed_total"),
    others_per_minute("github_webhook_calls_total", NAMESPACE + ',result="accepted"'),
)
