"""The section `[silence]`: what is expected of the topics."""

from pydantic import Field

from busmon.settings.section import Section
from busmon.settings.units import Moment, Seconds


class Silence(Section):
    """`[silence]`: when a topic has been silent for too long."""

    # By topic or pattern; replaces what busmon learned.
    max_silence: dict[str, Seconds] = Field(default_factory=dict)
    # By topic or pattern: it has to come although nothing is usual yet. None: what the rules say.
    expected_topics: dict[str, Seconds] | None = None
    # By topic or pattern: from then on it no longer has to come.
    retired: dict[str, Moment] = Field(default_factory=dict)
