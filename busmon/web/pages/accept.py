"""/gaps/accept: the form with which an operator accepts gaps.

A browser sends the operator's login by itself, also for a page of another site. So the form has a
token that only pages of this busmon know; and what another site sends is refused before that.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl
from wsgiref.types import WSGIEnvironment

from busmon.audit.acceptor import Acceptor
from busmon.ledger.acceptances import Selection, describe
from busmon.ledger.errors import LedgerError, LedgerWriteError
from busmon.ledger.open_messages import State
from busmon.message import GAP_STAGES
from busmon.web.access import Access
from busmon.web.body import FORM, read_body
from busmon.web.gaps import MAX_REASON, MAX_REQUEST_BYTES, is_reason
from busmon.web.http import Response
from busmon.web.pages import values
from busmon.web.pages.page import Malformed, Page, Request
from busmon.web.pages.urls import Urls
from busmon.web.refusals import Refused

MAX_FIELDS = 10
PAGE = Page("gaps", "Accept gaps", "accept.html", lambda _: {}, in_navigation=False)
OLD_FORM = "this form is not from this busmon, or from before its start: open it again"
NOTHING = "nothing of this is open any more"

Show = Callable[[HTTPStatus, Page, Request, Mapping[str, object]], Response]


class AcceptForm:
    """Shows the form, and does what it says. `show` makes a page of data."""

    def __init__(self, access: Access, acceptor: Acceptor, urls: Urls, show: Show) -> None:
        self._access = access
        self._acceptor = acceptor
        self._urls = urls
        self._show = show
        self._secret = secrets.token_bytes(32)

    def answer(self, environ: WSGIEnvironment, request: Request) -> Response:
        """Answer a request of an operator; raises Refused, Malformed and LedgerError."""
        if environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
            who = self._access.operator(environ)
            return self._form(HTTPStatus.OK, request, who)
        who, body = read_body(environ, MAX_REQUEST_BYTES, self._access.operate, FORM)
        sent = Request(request.rest, _fields(body), request.now, request.service)
        if not hmac.compare_digest(sent.query.get("token", "").encode(), self._token(who).encode()):
            raise Refused("cross-site", HTTPStatus.FORBIDDEN, OLD_FORM)
        return self._accept(sent, who)

    def _accept(self, sent: Request, who: str) -> Response:
        reason = sent.query.get("reason", "").strip()
        if not is_reason(reason):
            problem = f"the reason should be one line of 1 to {MAX_REASON} characters"
            return self._form(HTTPStatus.BAD_REQUEST, sent, who, problem)
        try:
            result = self._acceptor.accept(_selection(sent), who, reason)
        except (LedgerError, LedgerWriteError) as error:
            text = "the ledger cannot be written"
            raise Refused("ledger", HTTPStatus.SERVICE_UNAVAILABLE, text) from error
        if result is None:
            return self._form(HTTPStatus.CONFLICT, sent, who, NOTHING)
        where = self._urls.page("gaps", state="accepted")
        return Response(HTTPStatus.SEE_OTHER, b"", headers=(("Location", where),))

    def _form(self, status: HTTPStatus, request: Request, who: str, problem: str = "") -> Response:
        selection = _selection(request)
        with request.read() as tables:
            amount = tables.acceptances.amount(selection)
        fields = {"since": selection.since, "until": selection.until}
        places = {"bus": selection.bus, "topic": selection.topic, "stage": selection.stage}
        data = {
            "who": who,
            "selection": describe(selection),
            "fields": {name: value for name, value in (fields | places).items() if value},
            "missing": amount.get(State.MISSING, 0),
            "unconfirmed": amount.get(State.UNCONFIRMED, 0),
            "reason": request.query.get("reason", ""),
            "max_reason": MAX_REASON,
            "token": self._token(who),
            "mistake": problem,
        }
        return self._show(status, PAGE, request, data)

    def _token(self, who: str) -> str:
        return hmac.new(self._secret, who.encode(), "sha256").hexdigest()


def _selection(request: Request) -> Selection:
    since, until = values.time(request, "since"), values.time(request, "until")
    if since is None or until is None or not since < until:
        raise Malformed("since and until should be times, the first one earlier")
    bus, topic = values.text(request, "bus"), values.text(request, "topic")
    return Selection(since, until, bus, topic, values.choice(request, "stage", GAP_STAGES))


def _fields(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=MAX_FIELDS, keep_blank_values=True))
    except ValueError:  # also of UTF-8
        raise Malformed("this is no form of busmon") from None
