"""Asks the running service, and reads the JSON that it answers with."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from busmon.commands.endpoint import FOREIGN, Endpoint, NoAnswer, Refused, get
from busmon.commands.questions import QUESTIONS, Printed, Question
from busmon.text import printable

STATUSES = {0: 0, 1: 1}  # exit statuses that a service gives
UNREADABLE = (ArithmeticError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


def ask(endpoint: Endpoint, path: str, asked: Mapping[str, object]) -> Any:
    """Return the data of a page; raises NoAnswer and Refused. What is None is not asked."""
    query = urlencode({name: text for name, text in asked.items() if text is not None})
    status, body = get(endpoint, f"{path}?{query}" if query else path)
    if status in (401, 403):
        needs = "-c must name its own configuration, or the environment have its login"
        raise NoAnswer(f"refused (status {status}): {needs}")
    try:
        answer: Any = json.loads(body)
        problem = "" if status == 200 else printable(str(answer["problem"])[:500])
    except UNREADABLE as error:
        raise NoAnswer(FOREIGN if status == 200 else _unreadable(status, body)) from error
    if status == 503:  # its ledger cannot be read, or not in time
        raise NoAnswer(problem)
    if status != 200:
        raise Refused(problem)
    return answer


def put(endpoint: Endpoint, question: Question) -> Printed:
    """Put a question to the service; raises NoAnswer and Refused."""
    name = next(name for name, kind in QUESTIONS.items() if isinstance(question, kind))
    fields = msgspec.to_builtins(question)
    if empty := [field for field, value in fields.items() if value == ""]:
        raise Refused(f"{empty[0]}: should not be empty")
    answer = ask(endpoint, f"/v1/commands/{name}", {n: _text(v) for n, v in fields.items()})
    try:
        output, status = str(answer["output"]), STATUSES[answer["status"]]
    except UNREADABLE as error:
        raise NoAnswer(FOREIGN) from error
    return Printed("\n".join(map(printable, output.split("\n"))), status)


def _unreadable(status: int, body: bytes) -> str:
    """Return what an answer says that is no JSON, such as that of a busmon without its ledger."""
    line = body.decode(errors="replace").strip().partition("\n")[0]
    said = "" if not line or line.startswith("<") else f": {printable(line[:500])}"
    return f"answered with status {status}{said}"


def _text(value: object) -> object:
    return "true" if value is True else None if value is False else value
