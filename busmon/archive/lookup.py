"""Looks up single messages in the archive: what busmon would have made of one that it missed."""

from urllib.parse import urlencode

from busmon.archive.client import Datagrepper, Unanswered
from busmon.message import Message
from busmon.sources.recorded.format import Format
from busmon.sources.recorded.reader import read


def page_of(url: str, message_id: str) -> str:
    """Return the URL of a message: a browser shows it as JSON, a program gets the JSON."""
    query = urlencode({"id": message_id, "is_raw": "true", "size": "extra-large"})
    return f"{url.rstrip('/')}/v2/id?{query}"


def search_page(url: str, by: str, value: str, since: int, until: int) -> str:
    """Return the URL of the messages `by` a "package" or "user", sent between two Unix times."""
    query = {by: value, "start": since, "end": until, "size": "extra-large"}
    return f"{url.rstrip('/')}/v2/search?{urlencode(query)}"


def look_up(archive: Datagrepper, bus: str, message_id: str) -> Message | None:
    """Return a message as the source of its bus would, as if received now; None if there is none.

    The archive may have the same id twice; this is one of them. Raises Unanswered.
    """
    content = archive.message(message_id)
    if content is None:
        return None
    # One line, since it may have more; and it is what `fedora-messaging record` writes.
    line = next(read([content.replace(b"\n", b" ")], archive.name, bus), None)
    if line is None or line.format is not Format.FEDORA or line.message.id != message_id:
        raise Unanswered("does not answer as Datagrepper does, or the message is too large")
    return line.message
