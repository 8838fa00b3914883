"""The whole configuration, made of the sections that each package defines."""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from busmon.observers.table import ObservedAudit
from busmon.rules import Rules
from busmon.sentry import SentrySettings
from busmon.settings.audit import Silence
from busmon.settings.lint import Lint
from busmon.settings.models import LedgerSettings, Limits, Log, Web
from busmon.settings.section import Section
from busmon.sources.bus import Bus
from busmon.sources.table import SOURCES

if TYPE_CHECKING:
    AnyBus = Bus
else:  # the settings of the source that `type` names
    AnyBus = Annotated[Union[*SOURCES.values()], Field(discriminator="type")]

BusName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]


class Config(Section):
    """The whole configuration."""

    web: Web = Web()
    ledger: LedgerSettings = LedgerSettings()
    rules: Rules = Rules()
    limits: Limits = Limits()
    log: Log = Log()
    sentry: SentrySettings | None = None
    silence: Silence = Silence()
    lint: Lint = Lint()
    audit: ObservedAudit = ObservedAudit()
    buses: Annotated[dict[BusName, AnyBus], Field(min_length=1)]

    def comparable_bus(self) -> str | None:
        """Return the bus whose listener counts the same messages that busmon receives.

        Only `[audit.ready]` asks a listener for its counts.
        """
        ready = self.audit.ready
        bus = self.buses.get(ready.bus) if ready else None
        return ready.bus if ready and bus and bus.receives_as_listener() else None
