"""The pages over the parts of a service, without a socket."""

from collections.abc import Mapping
from html.parser import HTMLParser
from types import MappingProxyType
from typing import Any
from wsgiref.types import WSGIApplication

from prometheus_client import CollectorRegistry

from busmon.audit.acceptor import Acceptor
from busmon.config.model import Config
from busmon.settings.models import Web
from busmon.web.app import make_app
from busmon.web.health import ready_view
from busmon.web.http import View
from busmon.web.pages.page import QUERY_SECONDS, Shown
from busmon.web.pages.view import pages_view
from tests.support.diagnosis import Bench


def pages(
    bench: Bench,
    web: Web = Web(),  # noqa: B008 - frozen
    problems: tuple[str, ...] = (),
    registry: CollectorRegistry | None = None,
    acceptor: Acceptor | None = None,
    own: Mapping[str, View] = MappingProxyType({}),
    query_seconds: float = QUERY_SECONDS,
    **sections: Any,
) -> WSGIApplication:
    """Return the application; `own` are other views, `sections` those of the configuration."""
    config = Config.model_construct(web=web, **{"buses": {}, **sections})
    acceptor = acceptor or Acceptor(bench.ledger, bench.auditor.refresh)
    shown = Shown(config, bench.parts, bench.watch, acceptor, lambda: problems, query_seconds)
    view = pages_view(shown, lambda: bench.now, pause=0.0)  # tests/web/test_sharing.py
    registry = registry or CollectorRegistry()
    return make_app(web, registry, ready_view(list), view, own.get, bench.watch.status)


def text_of(html: bytes) -> str:
    """Return what a person reads: without the tags, on one line."""
    reader = _Reader()
    reader.feed(html.decode().replace("<wbr>", ""))
    return " ".join(" ".join(reader.parts).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
