"""/v1/commands/NAME: what a command prints of the ledger, for those who have no file of it."""

import json

import msgspec

from busmon.commands.gaps import NothingToAskOf, TooMany
from busmon.commands.questions import QUESTIONS, Question
from busmon.text import printable
from busmon.web.pages.page import Malformed, NotFound, Request

MOST = 4000  # messages or incidents in one answer
MAX_BYTES = 1_000_000  # of what is printed, as JSON; a client reads 1 MiB


def data(request: Request) -> dict[str, object]:
    """Return what the command prints, and its exit status."""
    question = _question(request)
    try:
        with request.read() as tables:
            config = request.service.config
            printed = question.answer(tables, config, request.now, MOST)
    except NothingToAskOf as error:
        raise NotFound(str(error)) from None
    except TooMany as error:
        raise Malformed(str(error)) from None
    if len(json.dumps(printed.output)) > MAX_BYTES:
        raise Malformed(f"more than {MAX_BYTES:,} bytes: ask for less of it, or read the ledger")
    return printed._asdict()


def _question(request: Request) -> Question:
    kind = QUESTIONS.get(request.rest)
    if kind is None:
        raise NotFound(f"no such command: {printable(request.rest[:100])}")
    try:
        return msgspec.convert(dict(request.query), kind, strict=False)
    except msgspec.ValidationError as error:
        raise Malformed(printable(str(error)[:150])) from None
