"""A search for messages."""

from busmon.commands.find import BadQuery, archive_page, search
from busmon.message import Outcome
from busmon.web.pages.page import Malformed, Request


def data(request: Request) -> dict[str, object]:
    """Return what is found."""
    with request.read() as tables:
        try:
            found = search(tables, request.query, request.now)
        except BadQuery as error:
            raise Malformed(str(error)) from error
    return found | {
        "archive": archive_page(request.service.config.archive, found["asked"], request.now),
        "buses": list(request.service.parts.connections),
        "outcomes": [outcome.value for outcome in Outcome],
    }
