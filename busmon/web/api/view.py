"""GET /v1/openapi.json: the description of what is below /v1. It is made when it is asked for."""

import json
from functools import cache
from http import HTTPStatus

from busmon.web.http import Response, View


def description_view(public_url: str | None) -> View:
    """Return the view."""

    @cache
    def description() -> Response:
        from busmon.web.api.document import document

        content = f"{json.dumps(document(public_url))}\n".encode()
        return Response(HTTPStatus.OK, content, "application/json")

    return lambda _environ: description()
