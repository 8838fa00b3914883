"""POST /v1/forget: an operator has a person's name taken out of the keys of all messages."""

import json
import logging
import time
from http import HTTPStatus
from typing import Annotated
from wsgiref.types import WSGIEnvironment

import msgspec
from msgspec import Meta

from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.ledger import Ledger
from busmon.rules.subjects import alternatives
from busmon.web.access import Access
from busmon.web.body import read_body
from busmon.web.http import Response, View
from busmon.web.refusals import Refused

MAX_REQUEST_BYTES = 1024
SECONDS = 4.0  # for one request; what takes longer is asked for again
YIELD_SECONDS = 0.01  # between two transactions, each of which holds up counting for some ms

log = logging.getLogger(__name__)


class Forget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose name is forgotten."""

    owner: Annotated[str, Meta(min_length=1, max_length=100)]


def forget_view(ledger: Ledger, access: Access, seconds: float = SECONDS) -> View:
    """Return the view; it checks method and login itself, and raises Refused."""
    decoder = msgspec.json.Decoder(Forget)

    def forget(environ: WSGIEnvironment) -> Response:
        who, content = read_body(environ, MAX_REQUEST_BYTES, access.operate)
        try:
            [key] = alternatives(f"owner:{decoder.decode(content).owner}")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
            raise Refused("malformed", HTTPStatus.BAD_REQUEST, "malformed: no owner") from None
        try:
            sets, finished = _forget(ledger, key, seconds)
        except (LedgerError, LedgerWriteError) as error:
            why = "the ledger cannot be written"
            raise Refused("ledger", HTTPStatus.SERVICE_UNAVAILABLE, why) from error
        log.info("%s has an owner forgotten: %d sets of keys", who, sets)
        answer = {"sets": sets, "finished": finished}
        return Response(HTTPStatus.OK, f"{json.dumps(answer)}\n".encode(), "application/json")

    return forget


def _forget(ledger: Ledger, key: str, seconds: float) -> tuple[int, bool]:
    """Delete a key block by block; return from how many sets, and whether from all.

    However short the time is, it deletes the key somewhere, so that a client gets on.
    """
    end, sets = time.monotonic() + seconds, 0
    with ledger.read() as tables:
        blocks = list(tables.subjects.blocks(0, tables.subjects.last() + 1, [[key]]))
    for number, block in enumerate(blocks, 1):
        sets += ledger.forget_key(key, block)
        if number < len(blocks):
            if sets and time.monotonic() > end:
                return sets, False
            time.sleep(YIELD_SECONDS)
    return sets, True
