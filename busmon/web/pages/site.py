"""Answers the requests for all pages, as HTML and below /v1 as JSON, and for what they load."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import parse_qsl
from wsgiref.types import WSGIEnvironment

from busmon.ledger.errors import LedgerError, TooSlow
from busmon.web.http import Response, encode, text
from busmon.web.pages.files import FOLDER, Files
from busmon.web.pages.page import Malformed, NotFound, Page, Request, Shown
from busmon.web.pages.rendering import Renderer
from busmon.web.pages.state import state_of_all
from busmon.web.pages.table import PAGES
from busmon.web.pages.urls import Urls
from busmon.web.refusals import Refused, only_read
from busmon.web.sharing import Sharing

MAX_QUERY_CHARACTERS = 4096
MAX_PARAMETERS = 20
API = "v1"


class Site:
    """All pages. One is computed at a time, and those who wait for the same one share it."""

    def __init__(self, service: Shown, clock: Callable[[], float]) -> None:
        self._service = service
        self._clock = clock
        self._sharing = Sharing()
        files = Files()
        self._renderer = Renderer(service.config.web, Urls(service.config.web.public_url), files)
        self._files = files
        self._pages = {(page.path, page.has_rest): page for page in PAGES}

    def answer(self, environ: WSGIEnvironment) -> Response:
        """Return the page or file; raises Refused and Busy."""
        first, slash, rest = _decoded(environ)[1:].partition("/")
        if first == FOLDER:
            return self._files.answer(rest) or text(HTTPStatus.NOT_FOUND)
        as_json = first == API and bool(slash)
        if as_json:
            first, slash, rest = rest.partition("/")
        page = self._pages.get((first, bool(slash)))
        if page is None:
            return text(HTTPStatus.NOT_FOUND)
        only_read(environ)
        query = environ.get("QUERY_STRING", "")
        key = page.path, rest, query, as_json
        return self._sharing.respond(key, lambda: self._render(page, rest, query, as_json))

    def _render(self, page: Page, rest: str, query: str, as_json: bool) -> Response:
        request = Request(rest, {}, self._clock(), self._service)
        try:
            request = replace(request, query=_parsed(query))
            data = page.data(request)
        except NotFound as error:
            return self._problem(request, HTTPStatus.NOT_FOUND, str(error), as_json)
        except Malformed as error:
            answer = self._problem(request, HTTPStatus.BAD_REQUEST, str(error), as_json)
            raise Refused("malformed", answer) from None
        except TooSlow:
            problem = "the ledger takes too long for this; ask for less of it, or try again later"
            answer = self._problem(request, HTTPStatus.SERVICE_UNAVAILABLE, problem, as_json)
            raise Refused("slow", answer) from None
        except LedgerError as error:
            answer = self._problem(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error), as_json)
            raise Refused("ledger", answer) from error
        if as_json:
            return _json(HTTPStatus.OK, {"now": request.now, **data})
        return self._html(HTTPStatus.OK, page, request, data)

    def _problem(
        self, request: Request, status: HTTPStatus, problem: str, as_json: bool
    ) -> Response:
        if as_json:
            return _json(status, {"problem": problem})
        page = Page("", status.phrase, "problem.html", lambda _: {})
        return self._html(status, page, request, {"problem": problem})

    def _html(
        self, status: HTTPStatus, page: Page, request: Request, data: Mapping[str, object]
    ) -> Response:
        shown = {"page": page, "pages": PAGES, "now": request.now, "query": request.query, **data}
        html = self._renderer.render(page.template, state_of_all(request), shown)
        return Response(status, encode(html), "text/html; charset=utf-8")


def _decoded(environ: WSGIEnvironment) -> str:
    """Return the path as text; WSGI has its bytes as Latin-1. An empty one is no page's."""
    path = str(environ.get("PATH_INFO") or "//")
    return path.encode("latin-1", "replace").decode(errors="replace")


def _parsed(query: str) -> dict[str, str]:
    if len(query) > MAX_QUERY_CHARACTERS:
        raise Malformed(f"the query has more than {MAX_QUERY_CHARACTERS} characters")
    try:
        return dict(parse_qsl(query, max_num_fields=MAX_PARAMETERS))
    except ValueError:
        raise Malformed(f"the query has more than {MAX_PARAMETERS} parameters") from None


def _json(status: HTTPStatus, data: Mapping[str, object]) -> Response:
    return Response(status, f"{json.dumps(data)}\n".encode(), "application/json")
