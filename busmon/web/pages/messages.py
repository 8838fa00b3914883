"""A search for messages."""

from busmon.commands.find import BadQuery, archive_page, search
from busmon.commands.gaps import NothingToAskOf, check_bus
from busmon.message import Outcome
from busmon.web.pages.page import Malformed, NotFound, Request


def data(request: Request) -> dict[str, object]:
    """Return what is found."""
    with request.read() as tables:
        try:
            check_bus(tables, request.query.get("bus", "").strip() or None, request.service.config)
            found = search(tables, request.query, request.now)
        except NothingToAskOf as error:
            raise NotFound(str(error)) from error
        except BadQuery as error:
            raise Malformed(str(error)) from error
    return found | {
        "archive": archive_page(request.service.config.archive, found["asked"], request.now),
        "buses": list(request.service.parts.connections),
        "outcomes": [outcome.value for outcome in Outcome],
    }
