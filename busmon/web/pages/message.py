"""All that is known of one message."""

from typing import Any

from busmon.commands.find import key_dicts
from busmon.commands.task_tree import MAX_INDENTED, Branch, describe
from busmon.commands.trace import TracedMessage, as_dict, find_message, labelled_lines, not_found
from busmon.ledger.search import Criteria
from busmon.ledger.tables import Tables
from busmon.web.pages.links import links
from busmon.web.pages.page import NotFound, Request

FAILED = frozenset({"failed", "revoked", "rejected"})


def data(request: Request) -> dict[str, object]:
    """Return what is known of the message `BUS/ID`."""
    with request.read() as tables:
        return _message(request, tables)


def _message(request: Request, tables: Tables) -> dict[str, object]:
    bus, _, identity = request.rest.partition("/")
    known = find_message(tables, identity, request.service.config, request.now)
    found = next((one for one in known if one.record.bus == bus), None)
    if found is None:
        raise NotFound(not_found(identity, tables.messages.oldest()))
    keys = _keys(tables, bus, identity)
    return {
        "id": identity,
        "message": as_dict(found),
        "keys": keys,
        "lines": [list(line) for line in labelled_lines(found)],
        "tree": [_task(branch) for branch in found.tree],
        "links": _links(found, keys),
    }


def _keys(tables: Tables, bus: str, identity: str) -> list[dict[str, str]]:
    hits = tables.search.by_id(identity, Criteria(bus=bus), 1)
    return key_dicts(hits[0]) if hits else []


def _links(found: TracedMessage, keys: list[dict[str, str]]) -> list[dict[str, Any]]:
    shown = [
        one._asdict() for one in links(found.record.topic, {k["kind"]: k["value"] for k in keys})
    ]
    archive = [{"name": "Datagrepper", "url": found.page}] if found.page else []
    return [*archive, *shown]


def _task(branch: Branch) -> dict[str, Any]:
    return {
        "id": branch.task.id,
        "name": branch.task.name,
        "text": describe(branch.task),
        "failed": branch.task.state in FAILED,
        "depth": min(branch.depth, MAX_INDENTED),
    }
