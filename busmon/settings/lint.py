"""`[lint]`: the differences between the lists of topics that are as they should be."""

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, NamedTuple, Self

from busmon.settings.section import Section, checked, split
from busmon.text import format_choice


class DifferenceKind(StrEnum):
    """How two lists differ; in the order from the bus to the worker."""

    BOUND_NOT_MAPPED = "bound-not-mapped"
    MAPPED_NOT_BOUND = "mapped-not-bound"
    WATCHED_NOT_BOUND = "watched-not-bound"
    LISTENER_ONLY = "listener-only"
    BUSMON_ONLY = "busmon-only"
    PASSED_NOT_PARSED = "passed-not-parsed"


class Acceptance(NamedTuple):
    """A kind of difference, and the topic or pattern for which it is accepted."""

    kind: str
    pattern: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return `KIND:TOPIC` as its parts; ValueError if it is anything else."""
        kind, _, pattern = text.partition(":")
        if kind not in list(DifferenceKind) or not pattern:
            kinds = format_choice(list(DifferenceKind))
            raise ValueError(f"{text!r} should be KIND:TOPIC, where KIND is {kinds}")
        return cls(kind, pattern)

    def covers(self, kind: DifferenceKind, topic: str) -> bool:
        """Return whether a difference is accepted."""
        return kind == self.kind and (topic == self.pattern or fnmatchcase(topic, self.pattern))


class Lint(Section):
    """`[lint]`: settings of `busmon lint`."""

    accept: Annotated[tuple[Annotated[str, checked(Acceptance.parse)], ...], split] = ()
