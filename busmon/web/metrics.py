"""GET /metrics: the registry in Prometheus's text format or OpenMetrics, as the client asks."""

import gzip
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import WSGIEnvironment

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from busmon.metrics.openmetrics import write_openmetrics
from busmon.web.http import Response, View
from busmon.web.sharing import Sharing


def metrics_view(registry: CollectorRegistry, sharing: Sharing) -> View:
    """Return the view; `name[]` in the query selects metrics."""

    def metrics(environ: WSGIEnvironment) -> Response:
        encode, content_type = _encoder(environ.get("HTTP_ACCEPT", ""))
        names = frozenset(parse_qs(environ.get("QUERY_STRING", "")).get("name[]", ()))
        packed = _accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", ""))

        def render() -> Response:
            body = encode(registry.restricted_registry(names) if names else registry)
            if not packed:
                return Response(HTTPStatus.OK, body, content_type)
            body = gzip.compress(body, compresslevel=6)
            return Response(HTTPStatus.OK, body, content_type, (("Content-Encoding", "gzip"),))

        return sharing.respond(("/metrics", content_type, names, packed), render)

    return metrics


def _encoder(accept: str) -> tuple[Callable[[Any], bytes], str]:
    try:
        encode, content_type = choose_encoder(" ".join(accept.split()))  # on one line: echoed
    except TypeError:  # raised for a version that is not a number
        encode, content_type = choose_encoder("")
    if content_type.startswith("application/openmetrics-text") and "dots" not in content_type:
        return write_openmetrics, content_type
    return encode, content_type


def _accepts_gzip(accept_encoding: str) -> bool:
    for item in accept_encoding.lower().replace(" ", "").split(","):
        coding, _, quality = item.partition(";")
        if coding == "gzip":
            return not re.fullmatch(r"q=0(\.0*)?", quality)
    return False
