"""What is served while busmon has no ledger yet: that it lives, and what it waits for."""

import time
from collections.abc import Iterator
from http import HTTPStatus
from wsgiref.types import WSGIEnvironment

from prometheus_client.core import Metric

from busmon import __version__
from busmon.metrics.collector import build_info, ledger_up, make_registry
from busmon.settings.models import Web
from busmon.text import format_time
from busmon.web.app import all_but_health, make_app
from busmon.web.health import ready_view
from busmon.web.http import Response, text
from busmon.web.info import WebInfo
from busmon.web.server import WebServer


class Waiting:
    """An application, `app`, and the reason that it gives."""

    def __init__(self, settings: Web, web: WebServer) -> None:
        self._reason, self._since, self._web = "", time.time(), web
        registry = make_registry(self, web.closed, WebInfo(settings))
        ready, own = ready_view(self._problems), all_but_health(self._answer)
        self.app = make_app(settings, registry, ready, own=own)

    def waits(self, reason: str = "") -> None:
        """Show what is wrong, until another application is shown; "" if nothing is."""
        if bool(reason) != bool(self._reason):
            self._since = time.time()
        self._reason = reason
        if reason:
            self._web.show(self.app)

    def collect(self) -> Iterator[Metric]:
        """Yield what is known without a ledger."""
        yield build_info(__version__)
        yield ledger_up(up=False)

    def _answer(self, _environ: WSGIEnvironment) -> Response:
        """Answer what needs the ledger."""
        line = f"busmon cannot answer yet. {self._problems()[0]}"
        return text(HTTPStatus.SERVICE_UNAVAILABLE, line, ("Retry-After", "5"))

    def _problems(self) -> list[str]:
        if not self._reason:
            return ["ledger: busmon is opening it"]
        return [f"ledger: {self._reason}, since {format_time(self._since)}"]
