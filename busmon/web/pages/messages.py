"""A search for messages."""

from busmon.commands.find import BadQuery, archive_page, hints, search
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
    config, asked = request.service.config, found["asked"]
    return found | {
        "hints": [] if found["messages"] else list(hints(asked, config.ledger.subjects)),
        "archive": archive_page(config.archive, asked, request.now),
        "buses": list(request.service.parts.connections),
        "outcomes": [outcome.value for outcome in Outcome],
    }
