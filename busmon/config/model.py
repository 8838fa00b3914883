"""The whole configuration, made of the sections that each package defines."""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from busmon.observers.table import ObservedAudit
from busmon.rules import Rules
from busmon.sentry import SentrySettings
from busmon.settings.archive import Archive
from busmon.settings.lint import Lint
from busmon.settings.models import LedgerSettings, Limits, Log, Web
from busmon.settings.section import Section
from busmon.settings.service_level import LevelName, ServiceLevel
from busmon.settings.silence import Silence
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
    archive: Archive | None = None
    lint: Lint = Lint()
    audit: ObservedAudit = ObservedAudit()
    slo: dict[LevelName, ServiceLevel] = Field(default_factory=dict)
    buses: Annotated[dict[BusName, AnyBus], Field(min_length=1)]
