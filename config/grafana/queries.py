"""The expressions of *Bus volume and gaps*: raw metrics, without the labels of the scrape."""

from panels import NAMESPACE

BUS = f'{NAMESPACE},bus=~"$bus"'
TOPIC = f'{BUS},topic=~"$topic"'
HOP = "bus, topic, stage"
SERIES = "bus, topic, outcome, reason"
A_MINUTE = "suffix: /min"
# What all topics of a bus begin with says nothing in a legend.
PREFIX = "(?:org[.](?:fedoraproject|release-monitoring)[.][a-z]+[.]|git[.]centos[.]org/)?(.*)"


def newest(metric: str, where: str, labels: str) -> str:
    """Return a gauge without the labels of the scrape; of two busmons the larger value."""
    return f"max by ({labels}) ({metric}{{{where}}})"


def growth(metric: str, where: str, labels: str, span: str = "$__range") -> str:
    """Return by how much a counter grew. Two busmons count the same: the larger one is taken."""
    return f"max by ({labels}) (increase({metric}{{{where}}}[{span}]))"


def pace(metric: str, where: str, labels: str, by: str = "") -> str:
    """Return how much a counter grows a minute, as `growth`, summed up."""
    each = f"max by ({labels}) (rate({metric}{{{where}}}[$__rate_interval]))"
    return f"60 * sum by ({by}) ({each})"


def foreign(metric: str, where: str = NAMESPACE) -> str:
    """Return how much the counters of several processes that share the work grow a minute."""
    return f"60 * sum(rate({metric}{{{where}}}[$__rate_interval]))"


def named(expr: str) -> str:
    """Return the series with the label `name`, the topic's suffix."""
    return f'label_replace({expr}, "name", "$1", "topic", "{PREFIX}")'
