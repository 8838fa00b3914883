"""The health checks: /live, and /ready, which says why busmon is not ready."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from wsgiref.types import WSGIEnvironment

from busmon.ledger.ledger import Ledger
from busmon.sources.base import ConnectionState
from busmon.text import printable
from busmon.threads import Threads
from busmon.web.http import Response, View, text


def problems(
    connections: Mapping[str, ConnectionState], ledger: Ledger, threads: Threads
) -> list[str]:
    """Return a line for each reason for which busmon is not ready."""
    lines = [
        f"{bus}: {problem}"
        for bus, connection in connections.items()
        if (problem := connection.problem())
    ]
    return [*lines, *filter(None, (ledger.problem(), threads.problem()))]


def live(_environ: WSGIEnvironment) -> Response:
    """Answer that the process answers."""
    return text(HTTPStatus.OK, "live")


def ready_view(
    problems: Callable[[], Sequence[str]],
    history: Callable[[], Sequence[str]] = tuple,
    well: Callable[[], str] = lambda: "ready",
    warning: str | None = None,
) -> View:
    """Return the view: status 200, `well` and the warning, or 503 and the problems; the history."""

    def ready(_environ: WSGIEnvironment) -> Response:
        found = problems()
        status = HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.OK
        warned = [f"warning: ledger: {warning}"] if warning else []
        lines = [*(found or [well(), *warned]), *(f"earlier: {line}" for line in history())]
        return text(status, "\n".join(map(printable, lines)))

    return ready
