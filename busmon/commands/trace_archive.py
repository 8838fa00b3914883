"""What the archive has of a message, for `busmon trace`."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from busmon.archive.client import Datagrepper, Unanswered
from busmon.archive.lookup import look_up, page_of
from busmon.commands.reconsume import NAME_THE_CALLBACK, Reconsume, ReconsumeCommands, is_uuid
from busmon.config.model import Config
from busmon.message import Outcome
from busmon.rules import rule_set
from busmon.sources.amqp.fedora_toml import NO_CALLBACK
from busmon.text import format_time

TIMEOUT = 10.0  # seconds; a person waits


class Archived(NamedTuple):
    """A message that busmon did not receive, as the archive has it."""

    bus: str
    topic: str
    outcome: str  # by the rules as they are now
    reason: str
    sent_at: float | None  # Unix time, by its publisher's clock
    page: str  # URL
    reconsume: Reconsume | None  # None: the listener would not handle it


def page_in_archive(config: Config | None, bus: str, message_id: str) -> str | None:
    """Return the URL of a message in the archive, if there is one for its bus."""
    archive = config.archive if config else None
    if archive is None or archive.bus != bus or not is_uuid(message_id):
        return None
    return page_of(archive.url, message_id)


def ask_archive(config: Config | None, message_id: str) -> Archived | str | None:
    """Return what the archive has of a message, or why nothing is known; None without an archive.

    It sends one request.
    """
    if config is None or (settings := config.archive) is None:
        return None
    if not is_uuid(message_id):
        return "not asked, because the id is not a UUID"
    bus = settings.bus
    try:
        message = look_up(Datagrepper(settings, TIMEOUT), bus, message_id)
    except Unanswered as error:
        return f"{settings.url}: {error}"
    if message is None:
        return "does not have it"
    judgement = rule_set(config.buses[bus].rules, config.rules).judge(message)
    handled = judgement.outcome is Outcome.HANDLED
    return Archived(
        bus,
        message.topic,
        judgement.outcome,
        judgement.reason,
        message.sent_at,
        page_of(settings.url, message_id),
        ReconsumeCommands(config).of(bus, message_id) if handled else None,
    )


def as_dict(found: Archived) -> dict[str, Any]:
    """Return it for JSON."""
    command = found.reconsume and found.reconsume.command
    return found._asdict() | {"received_at": None, "reconsume": command}


def archived_lines(found: Archived | str) -> Iterator[tuple[str, str]]:
    """Yield label and text of each line for people."""
    if isinstance(found, str):
        yield "archive", found
        return
    yield "bus", found.bus
    yield "topic", found.topic
    yield "received", "not by busmon, but the archive has it"
    sent = "at a time that is not known" if found.sent_at is None else format_time(found.sent_at)
    yield "sent", f"{sent}, by its publisher's clock"
    yield "judged", f"{found.outcome} {found.reason}".rstrip() + ", by the rules as they are now"
    yield "archive", found.page
    yield from reconsume_lines(found.reconsume)


def reconsume_lines(way: Reconsume | None) -> Iterator[tuple[str, str]]:
    """Yield how to consume a message again, or why that cannot be; nothing if it need not be."""
    if way is None:
        return
    yield "again", way.command or way.why_not or ""
    if NO_CALLBACK in (way.command or ""):
        yield "callback", NAME_THE_CALLBACK
