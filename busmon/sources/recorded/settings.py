"""The settings of recorded messages in place of a bus."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from busmon.ledger.ledger import Ledger
from busmon.settings.section import File, Row, split
from busmon.sources.base import Source
from busmon.sources.bus import Bus, Subscription, describe_schemas
from busmon.text import format_items

Files = Annotated[tuple[File, ...], split]


class ReplayBus(Bus):
    """Recorded messages in place of a bus."""

    type: Literal["replay"]
    files: Annotated[Files, Field(min_length=1)]
    # Messages a second; without it, as fast as possible.
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def make_source(self, name: str, _ledger: Ledger) -> Source:
        """See Bus."""
        from busmon.sources.recorded.source import ReplaySource

        return ReplaySource(name, self)

    def describe(self) -> Iterator[Row]:
        """See Bus."""
        yield "reads", format_items([str(file) for file in self.files], "file")
        yield "rate", f"{self.rate:g} messages a second" if self.rate else "as fast as it can"
        yield describe_schemas(self)

    def subscription(self) -> Subscription:
        """Return that no message has to come: a recording ends."""
        return lambda _topic: False

    def reconsume_command(self) -> str:
        """Return fedora-messaging's command: the messages can be Fedora's."""
        return "fedora-messaging reconsume"
