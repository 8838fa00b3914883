"""What `busmon gaps`, `incidents`, `trace` and `gaps accepted` ask, and what they print.

The ledger answers, or the running service does, at /v1/commands/NAME: with the same code.
"""

from typing import Annotated, ClassVar, Literal, NamedTuple

import msgspec
from msgspec import Meta

from busmon.commands import acceptances, gaps_output, incidents_output, trace
from busmon.commands.gaps import GapsQuery, find_gaps
from busmon.commands.incidents import IncidentsQuery, find_incidents
from busmon.commands.trace_archive import Archived
from busmon.config.model import Config
from busmon.ledger.tables import Tables
from busmon.settings.units import LAST_TIME
from busmon.text import printable

FOUND = 1  # exit status of gaps: there are some
NOT_FOUND = 1  # exit status of trace: there is no such message
SERVICE = "not asked, because the service at --url looks only in its ledger"

UnixTime = Annotated[float, Meta(ge=0, lt=LAST_TIME)]
Text = Annotated[str, Meta(min_length=1, max_length=300)]


class Printed(NamedTuple):
    """What a command prints, and its exit status."""

    output: str
    status: int = 0


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a command asks: its fields are the query of the URL at which the service answers."""

    command: ClassVar[str]

    def answer(
        self, tables: Tables, config: Config | None, now: float, most: int | None = None
    ) -> Printed:
        """Return what is printed. Raises NothingToAskOf, and TooMany if it were more than `most`.

        `most` are messages or incidents; None: any number.
        """
        raise NotImplementedError


class Gaps(Question, frozen=True):
    """`busmon gaps`."""

    command = "gaps"
    since: UnixTime | None = None
    bus: Text | None = None
    topic: Text | None = None
    format: Literal["table", "json", "ids"] = "table"
    unconfirmed: bool = False
    all: bool = False

    def answer(
        self, tables: Tables, config: Config | None, now: float, most: int | None = None
    ) -> Printed:
        """See Question."""
        del now
        query = GapsQuery(self.since, self.bus, self.topic, self.unconfirmed, self.all)
        found = find_gaps(tables, query, config, most)
        render = {
            "table": gaps_output.as_table,
            "json": gaps_output.as_json,
            "ids": gaps_output.as_ids,
        }
        return Printed(render[self.format](found), FOUND if found.open() else 0)


class Incidents(Question, frozen=True):
    """`busmon incidents`."""

    command = "incidents"
    since: UnixTime
    bus: Text | None = None
    format: Literal["table", "json", "markdown"] = "table"

    def answer(
        self, tables: Tables, config: Config | None, now: float, most: int | None = None
    ) -> Printed:
        """See Question."""
        found = find_incidents(tables, IncidentsQuery(self.since, now, self.bus), config, most)
        render = {
            "table": incidents_output.as_table,
            "json": incidents_output.as_json,
            "markdown": incidents_output.as_markdown,
        }
        return Printed(render[self.format](found))


class Accepted(Question, frozen=True):
    """`busmon gaps accepted`."""

    command = "gaps accepted"
    format: Literal["table", "json"] = "table"

    def answer(
        self, tables: Tables, config: Config | None, now: float, most: int | None = None
    ) -> Printed:
        """See Question."""
        del config, now, most
        found = tables.acceptances.all()
        as_json = self.format == "json"
        return Printed(acceptances.as_json(found) if as_json else acceptances.as_text(found))


class Known(NamedTuple):
    """What the ledger knows of a message."""

    id: str
    found: list[trace.TracedMessage]
    oldest: float | None  # Unix time of the oldest message on record, if this one is not


class Trace(Question, frozen=True):
    """`busmon trace`."""

    command = "trace"
    id: Text
    format: Literal["table", "json"] = "table"

    def answer(
        self, tables: Tables, config: Config | None, now: float, most: int | None = None
    ) -> Printed:
        """See Question. The archive is not asked."""
        del most
        known = self.look_up(tables, config, now)
        asked = config is None or config.archive is None or trace.is_received(known.found)
        return self.show(known, None if asked else SERVICE)

    def look_up(self, tables: Tables, config: Config | None, now: float) -> Known:
        """Return what the ledger knows of the message, or of that of a task."""
        identity = trace.message_of(tables, self.id)
        found = trace.find_message(tables, identity, config, now)
        return Known(identity, found, None if found else tables.messages.oldest())

    def show(self, known: Known, archived: Archived | str | None) -> Printed:
        """Return what is printed; of the archive JSON has only a message."""
        identity, found, oldest = known
        status = 0 if found else NOT_FOUND
        if self.format == "json":
            only = archived if isinstance(archived, Archived) else None
            return Printed(trace.as_json(found, only), status)
        title = printable(identity) if found else trace.not_found(identity, oldest)
        return Printed(trace.as_text(title, found, archived), status)


QUESTIONS: dict[str, type[Question]] = {
    "gaps": Gaps,
    "incidents": Incidents,
    "accepted": Accepted,
    "trace": Trace,
}
