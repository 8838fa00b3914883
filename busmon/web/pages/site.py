"""Answers the requests for all pages, as HTML and below /v1 as JSON, and for what they load."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qsl
from wsgiref.types import WSGIEnvironment

from busmon.ledger.errors import LedgerError, TooSlow
from busmon.web.access import Access
from busmon.web.http import Response, encode, text
from busmon.web.pages.accept import AcceptForm
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
API, ACCEPT = "/v1/", "/gaps/accept"
MARKDOWN = ".md"
TOO_SLOW = "the ledger takes too long for this; ask for less of it, or try again later"

Answer = Callable[[Request], Response]


class Site:
    """All pages. One is computed at a time, and those who wait for the same one share it."""

    def __init__(self, service: Shown, clock: Callable[[], float], pause: float) -> None:
        settings = service.config.web
        self._service = service
        self._clock = clock
        self._sharing = Sharing(pause)
        self._files, urls = Files(), Urls(settings.public_url)
        self._renderer = Renderer(settings, urls, self._files)
        self._accept = AcceptForm(Access(settings), service.acceptor, urls, self._html)
        self._pages = {(page.path, page.has_rest): page for page in PAGES}

    def answer(self, environ: WSGIEnvironment) -> Response:
        """Return the page or file; raises Refused and Busy."""
        path, query = _decoded(environ), environ.get("QUERY_STRING", "")
        if path.startswith(f"/{FOLDER}/"):
            only_read(environ)
            return self._files.answer(path.removeprefix(f"/{FOLDER}/")) or _not_found()
        if path == ACCEPT:  # by its login, so it is shared with nobody
            accept = partial(self._accept.answer, environ)
            return self._respond("", query, self._shared_problem, accept)
        as_json = path.startswith(API)
        first, slash, rest = path.removeprefix(API[:-1] if as_json else "")[1:].partition("/")
        make = self._find(first, bool(slash), as_json)
        if make is None:
            return _not_found()
        only_read(environ)
        problem = self._json_problem if as_json else self._html_problem
        respond = partial(self._respond, rest, query, problem, make)
        return self._sharing.respond((first, slash, rest, query, as_json), respond)

    def _find(self, name: str, has_rest: bool, as_json: bool) -> Answer | None:
        """Return what makes the page of this name."""
        page = self._pages.get((name, has_rest))
        if page and (as_json or page.template):
            return partial(self._data if as_json else self._page, page)
        page = self._pages.get((name.removesuffix(MARKDOWN), False))
        if page is None or page.markdown is None or has_rest or as_json:
            return None
        return partial(_markdown, page.markdown)

    def _respond(
        self,
        rest: str,
        query: str,
        problem: Callable[[Request, HTTPStatus, str], Response],
        make: Answer,
    ) -> Response:
        """Return the answer, or a page that says what is wrong; raises Refused."""
        request = Request(rest, {}, self._clock(), self._service)
        try:
            return make(replace(request, query=_parsed(query)))
        except Refused as refused:  # by the form, in plain text, which a phone does not wrap
            said = refused.response
            page = problem(request, said.status, said.body.decode().strip())
            raise Refused(refused.reason, replace(page, headers=said.headers)) from None
        except NotFound as error:
            return problem(request, HTTPStatus.NOT_FOUND, str(error))
        except Malformed as error:
            answer = problem(request, HTTPStatus.BAD_REQUEST, str(error))
            raise Refused("malformed", answer) from None
        except LedgerError as error:
            slow = isinstance(error, TooSlow)
            shown = TOO_SLOW if slow else str(error)
            answer = problem(request, HTTPStatus.SERVICE_UNAVAILABLE, shown)
            raise Refused("slow" if slow else "ledger", answer) from error

    def _page(self, page: Page, request: Request) -> Response:
        return self._html(HTTPStatus.OK, page, request, page.data(request))

    def _data(self, page: Page, request: Request) -> Response:
        return _json(HTTPStatus.OK, {"now": request.now, **page.data(request)})

    def _html_problem(self, request: Request, status: HTTPStatus, problem: str) -> Response:
        page = Page("", status.phrase, "problem.html", lambda _: {})
        return self._html(status, page, request, {"problem": problem})

    def _shared_problem(self, request: Request, status: HTTPStatus, problem: str) -> Response:
        """Return the same, computed as a page is: whoever asks, it takes little of a CPU."""
        page = partial(self._html_problem, request, status, problem)
        return self._sharing.respond((ACCEPT, status, problem), page)

    def _json_problem(self, _request: Request, status: HTTPStatus, problem: str) -> Response:
        return _json(status, {"problem": problem})

    def _html(
        self, status: HTTPStatus, page: Page, request: Request, data: Mapping[str, object]
    ) -> Response:
        shown = {"page": page, "pages": PAGES, "now": request.now, **data}
        html = self._renderer.render(page.template, state_of_all(request), shown)
        return Response(status, encode(html), "text/html; charset=utf-8")


def _markdown(make: Callable[[Request], str], request: Request) -> Response:
    return Response(HTTPStatus.OK, encode(make(request)), "text/markdown; charset=utf-8")


def _not_found() -> Response:
    return text(HTTPStatus.NOT_FOUND)


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
