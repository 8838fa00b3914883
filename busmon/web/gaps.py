"""POST /v1/gaps/accept and /v1/gaps/reopen: an operator accepts gaps, or takes that back."""

import json
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, TypeVar
from wsgiref.types import WSGIEnvironment

import msgspec
from msgspec import Meta

from busmon.audit.acceptor import Acceptor, CannotReopen, Result
from busmon.ledger.acceptances import Selection
from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.message import GapStage, Stage
from busmon.settings.units import LAST_TIME
from busmon.text import printable
from busmon.web.access import Access
from busmon.web.body import read_body
from busmon.web.http import Response, View, text
from busmon.web.refusals import Refused

MAX_REQUEST_BYTES = 16 * 1024
MAX_REASON = 500  # characters

UnixTime = Annotated[float, Meta(ge=0, lt=LAST_TIME)]
Name = Annotated[str, Meta(max_length=255)]
Asked = TypeVar("Asked")


class Accept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which gaps are accepted, and why."""

    since: UnixTime  # windows that began then or later
    until: UnixTime  # and before this time
    reason: Annotated[str, Meta(min_length=1, max_length=MAX_REASON)]
    bus: Name | None = None
    topic: Name | None = None
    stage: GapStage | None = None

    def selection(self) -> Selection:
        """Return the gaps; raises Refused if the request makes no sense."""
        if not self.since < self.until:
            raise _malformed("since should be before until")
        if not is_reason(self.reason):
            raise _malformed("reason should be one line of printable characters")
        stage = Stage(self.stage) if self.stage else None
        return Selection(self.since, self.until, self.bus, self.topic, stage)


class Reopen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which acceptance no longer holds."""

    acceptance: Annotated[int, Meta(ge=1, le=2**53)]


def is_reason(text: str) -> bool:
    """Return whether it is one line, not too long, and not blank."""
    return bool(text.strip()) and len(text) <= MAX_REASON and text.isprintable()


def gaps_views(acceptor: Acceptor, access: Access) -> dict[str, View]:
    """Return the views by path; they check method and login themselves, and raise Refused."""
    accepts, reopens = msgspec.json.Decoder(Accept), msgspec.json.Decoder(Reopen)

    def accept(environ: WSGIEnvironment) -> Response:
        who, asked = _read(accepts, environ, access)
        try:
            return _answer(acceptor.accept(asked.selection(), who, asked.reason.strip()))
        except (LedgerError, LedgerWriteError) as error:
            raise _not_written() from error

    def reopen(environ: WSGIEnvironment) -> Response:
        who, asked = _read(reopens, environ, access)
        try:
            return _answer(acceptor.reopen(asked.acceptance, who))
        except CannotReopen as error:
            return text(HTTPStatus.CONFLICT, str(error))
        except (LedgerError, LedgerWriteError) as error:
            raise _not_written() from error

    return {"/v1/gaps/accept": accept, "/v1/gaps/reopen": reopen}


def _read(
    decoder: msgspec.json.Decoder[Asked], environ: WSGIEnvironment, access: Access
) -> tuple[str, Asked]:
    """Return who asks, and for what; raises Refused."""
    who, content = read_body(environ, MAX_REQUEST_BYTES, access.operate)
    try:
        return who, decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(str(error)) from None


def _malformed(why: str) -> Refused:
    return Refused("malformed", HTTPStatus.BAD_REQUEST, f"malformed: {printable(why[:150])}")


def _not_written() -> Refused:
    return Refused("ledger", HTTPStatus.SERVICE_UNAVAILABLE, "the ledger cannot be written")


def _answer(result: Result | None) -> Response:
    """Return the result as JSON; without one nothing matched, and there is no number."""
    answer = asdict(result) if result else {"number": None, "messages": 0}
    return Response(HTTPStatus.OK, f"{json.dumps(answer)}\n".encode(), "application/json")
