"""What /metrics says, as numbers."""

from collections import Counter
from collections.abc import Sequence

from prometheus_client.parser import text_string_to_metric_families

LABELS = ("bus", "topic", "outcome", "reason")  # of busmon_messages_total

Series = tuple[str, ...]  # the values of the labels


def counter(
    text: str,
    name: str = "busmon_messages_total",
    labels: Sequence[str] = LABELS,
    **selected: str,
) -> Counter[Series]:
    """Return the counter by the values of its labels, without zeros; only series `selected`."""
    return +Counter(
        {
            tuple(sample.labels[label] for label in labels): int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and selected.items() <= sample.labels.items()
        }
    )
