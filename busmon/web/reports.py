"""POST /v1/reports: takes the reports of the tap in the listener's process."""

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from wsgiref.types import WSGIEnvironment

from busmon.ledger.errors import LedgerWriteError
from busmon.observers.tap import TapObserver
from busmon.observers.tap_batch import Malformed, ReportBatch, parse
from busmon.web.body import read_body
from busmon.web.http import Response, View, is_authorized, text
from busmon.web.refusals import Refused

MAX_REQUEST_BYTES = 1024 * 1024


def reports_view(tap: TapObserver, token: str, clock: Callable[[], float] = time.time) -> View:
    """Return the view, which checks method and token itself. `token` is what the tap has."""
    credentials = token.encode()
    parsing = threading.Lock()  # one at a time, so that the memory for it is needed once

    def admit(environ: WSGIEnvironment) -> None:
        if not is_authorized(environ, "bearer", credentials):
            challenge = ("WWW-Authenticate", 'Bearer realm="busmon reports"')
            raise Refused("token", HTTPStatus.UNAUTHORIZED, "", challenge)

    def reports(environ: WSGIEnvironment) -> Response:
        try:
            _, content = read_body(environ, MAX_REQUEST_BYTES, admit)
            with parsing:
                batch = _parse(content)
            _take(tap, batch, clock())
        except Refused as refused:
            tap.refuse(refused.reason)
            return refused.response
        return text(HTTPStatus.OK, "taken")

    return reports


def _parse(content: bytes) -> ReportBatch:
    try:
        return parse(content)
    except Malformed as error:
        raise Refused("malformed", HTTPStatus.BAD_REQUEST, f"malformed: {error}") from error


def _take(tap: TapObserver, batch: ReportBatch, now: float) -> None:
    if batch.bus != tap.bus:
        raise Refused("bus", HTTPStatus.FORBIDDEN, f"takes reports for bus {tap.bus} only")
    try:
        tap.take(batch, now)
    except LedgerWriteError as error:
        raise Refused("ledger", HTTPStatus.SERVICE_UNAVAILABLE) from error
