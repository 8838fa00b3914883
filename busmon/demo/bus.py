"""The buses of `busmon demo`, in the place of those that a configuration has."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from busmon.commands.reconsume import ANY_BUS
from busmon.demo.traffic import TrafficSource
from busmon.ledger.ledger import Ledger
from busmon.settings.section import Row
from busmon.sources.base import Source
from busmon.sources.bus import Bus


class MadeUpBus(Bus):
    """A bus of made-up messages; `rate` in a second, `pace` as of TrafficSource."""

    type: Literal["made-up"] = "made-up"
    kind: Literal["fedora", "centos"]
    rate: float
    pace: dict[str, float] = Field(default_factory=dict)

    def make_source(self, name: str, ledger: Ledger) -> Source:  # noqa: ARG002 - see Bus
        """See Bus."""
        return TrafficSource(name, self.kind, self.rate, pace=self.pace)

    def describe(self) -> Iterator[Row]:
        """See Bus."""
        yield "traffic", "made up"

    def reconsume_command(self) -> str | None:
        """See Bus."""
        return ANY_BUS if self.kind == "fedora" else None
