"""The sections `[slo.NAME]`: how soon messages should reach a stage."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field

from busmon.settings.section import Section, Strings, matching
from busmon.settings.units import Seconds, format_seconds

LevelName = Annotated[
    str,
    matching(
        r"[a-z][a-z0-9_-]{0,63}",
        "the name of a service level has only a-z, 0-9, _ and -, at most 64, and begins with a"
        " letter",
    ),
]


class ServiceLevel(Section):
    """`[slo.NAME]`: a share of the messages of some topics reaches a stage in a time."""

    bus: str
    topics: Annotated[Strings, Field(min_length=1)]  # names or patterns
    stage: Literal["listener", "worker", "handlers"]
    within: Seconds  # from when a message was sent
    objective: Annotated[float, Field(gt=0, lt=1)]  # the share

    def describe(self) -> str:
        """Return what `busmon check-config` shows of it."""
        share = f"{100 * self.objective:.6g} % of {', '.join(self.topics)} on {self.bus}"
        return f"{share}: {self.stage} within {format_seconds(self.within)}"

    def matches(self, topic: str) -> bool:
        """Return whether it is about the messages of a topic."""
        return any(fnmatchcase(topic, pattern) for pattern in self.topics)
