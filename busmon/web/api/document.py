"""Makes the OpenAPI document of what is below /v1, from the table of operations and their types."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from busmon import __version__
from busmon.web.api import shapes
from busmon.web.api.operations import GET, POST, Operation, Parameter

REFERENCE = "#/components/schemas/{name}"
ABOUT = (
    "What the pages of busmon show, as JSON, and what changes something. Times are Unix times in"
    " seconds. Texts that come from messages can be anything: escape them. A key that is null is"
    " not known. A parameter that is empty is as if it were left out."
)
SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "`token` of `[web]`"},
    "login": {
        "type": "http",
        "scheme": "basic",
        "description": "`username` and `password` of `[web]`, or an operator's",
    },
    "operator": {"type": "http", "scheme": "basic", "description": "a login in `[web.operators]`"},
    "tap": {"type": "http", "scheme": "bearer", "description": "`token` of `[audit.reports]`"},
}
LOGINS: dict[str, list[dict[str, list[str]]]] = {
    "reader": [{"token": []}, {"login": []}, {}],  # without credentials in `[web]` everybody reads
    "operator": [{"operator": []}],
    "tap": [{"tap": []}],
}
READ = {  # status, and what it means
    400: "a parameter makes no sense",
    401: "no credentials, or wrong ones",
    403: "no client certificate",
    404: "there is nothing of this name",
    503: "busmon is busy, or the ledger cannot be read, or takes too long",
}
WRITE = READ | {
    400: "malformed",
    403: "these credentials may not do this",
    409: "it was taken back before, or is not known",
    411: "without a Content-Length",
    413: "too large",
    415: "not application/json",
    503: "the ledger cannot be written",
}


def document(public_url: str | None) -> dict[str, Any]:
    """Return the OpenAPI document; `public_url` is that of `[web]`."""
    operations = [*GET, *POST]
    types = [shapes.Problem, *(t for one in operations for t in (one.answer, one.body) if t)]
    references, schemas = msgspec.json.schema_components(types, ref_template=REFERENCE)
    known = dict(zip(map(id, types), references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        method = "get" if one.body is None else "post"
        paths.setdefault(f"/v1{one.path}", {})[method] = _operation(one, known)
    return {
        "openapi": "3.1.0",
        "info": {"title": "busmon", "version": __version__, "description": ABOUT},
        "servers": [{"url": (public_url or "").rstrip("/") or "/"}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": SECURITY},
    }


def _operation(one: Operation, known: Mapping[int, Any]) -> dict[str, Any]:
    answer = _json(known[id(one.answer)]) if one.answer else _text()
    problems = READ if one.body is None else WRITE
    content = _json(known[id(shapes.Problem)]) | _text() if one.body is None else _text()
    in_path = [Parameter(name) for name in re.findall(r"{(\w+)}", one.path)]
    found: dict[str, Any] = {
        "summary": one.about,
        "security": LOGINS[one.login],
        "parameters": [
            *(_parameter(of, "path") for of in in_path),
            *(_parameter(of, "query") for of in one.query),
        ],
        "responses": {
            "200": {"description": HTTPStatus.OK.phrase, "content": answer},
            **{str(n): {"description": why, "content": content} for n, why in problems.items()},
        },
    }
    if one.body:
        found["requestBody"] = {"required": True, "content": _json(known[id(one.body)])}
    return found


def _parameter(one: Parameter, place: str) -> dict[str, Any]:
    about = {"description": one.about} if one.about else {}
    required = place == "path" or one.required
    return {
        "name": one.name,
        "in": place,
        "required": required,
        "schema": dict(one.schema),
        **about,
    }


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _text() -> dict[str, Any]:
    return {"text/plain": {"schema": {"type": "string"}}}
