"""The view of the pages. They and the library of their templates load when one is asked for."""

import threading
import time
from collections.abc import Callable
from wsgiref.types import WSGIEnvironment

from busmon.web.http import Response, View
from busmon.web.pages.page import Shown

PAUSE = 19.0  # times the CPU that a page takes: so all pages take at most a twentieth of one


def pages_view(
    service: Shown, clock: Callable[[], float] = time.time, pause: float = PAUSE
) -> View:
    """Return the view of every page; a busmon that nobody looks at needs no memory for them."""
    loading, site = threading.Lock(), list[View]()

    def answer(environ: WSGIEnvironment) -> Response:
        with loading:
            if not site:
                from busmon.web.pages.site import Site

                site.append(Site(service, clock, pause).answer)
        return site[0](environ)

    return answer
