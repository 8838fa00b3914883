"""Samples as prometheus-client's metric families, and the buckets of a histogram."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

Samples = Iterable[tuple[Sequence[str], float]]  # values of the labels, and of the metric


class Buckets:
    """The counts of one histogram. Not thread-safe: its owner has a lock."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)  # the last one: above all bounds
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a value in the first bucket whose bound it does not exceed."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def cumulative(self) -> tuple[list[tuple[str, float]], float]:
        """Return upper bound and cumulative count of each bucket, and the sum of all values."""
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True)), self._sum


def counter(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    """Return a counter with these samples."""
    family = CounterMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def gauge(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    """Return a gauge with these samples."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def histogram(
    name: str, text: str, labels: Sequence[str], children: Mapping[tuple[str, ...], Buckets]
) -> Metric:
    """Return a histogram with these children, by the values of their labels."""
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, buckets in children.items():
        counts, total = buckets.cumulative()
        family.add_metric(values, counts, total)
    return family


def by_bus(values: Mapping[str, float]) -> Samples:
    """Return the samples of a metric whose only label is the bus."""
    return (((bus,), value) for bus, value in values.items())
