"""PromQL of the dashboard *Bus volume and gaps*: raw metrics, no recording rule is needed.

Several busmons may watch one bus. Each sees every message, so their series are never added up:
`max by` takes the largest, and drops the labels of the scrape.

The count of a topic that no longer comes is added to that of the topic `__other__`, which jumps
then. So no query takes the increase of `__other__`: those have `GROWING` instead of `TOPIC`.
"""

from panels import NAMESPACE, RATE_INTERVAL

BUS = f'{NAMESPACE},bus=~"$bus"'
TOPIC = f'{BUS},topic=~"$topic"'
GROWING = f'{TOPIC},topic!="__other__"'
MESSAGE_LABELS = "bus, topic, outcome, reason"
STAGE_LABELS = "bus, topic, stage"
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


def others_per_minute(metric: str, matchers: str = NAMESPACE) -> str:
    """Return the increase a minute of a counter whose processes share the work: their sum."""
    return f"60 * sum(rate({metric}{{{matchers}}}{RATE_INTERVAL}))"


def with_short_topic(expr: str) -> str:
    """Return the series with a label `name`: the topic without its prefix."""
    return f'label_replace({expr}, "name", "$1", "topic", "{PREFIX}")'
