"""What `busmon find` asks the running service, and how it shows the answer."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from busmon.commands.endpoint import Endpoint, NoAnswer, get
from busmon.text import format_time, printable


class Refused(Exception):
    """The service does not understand what is asked for; the text says why."""


class Found(NamedTuple):
    """What the service found."""

    answer: dict[str, Any]  # as it is
    rows: list[str]  # for people
    older: int | None


def ask(endpoint: Endpoint, asked: Mapping[str, str | None]) -> Found:
    """Have the service search; raises NoAnswer and Refused."""
    query = urlencode({name: text for name, text in asked.items() if text})
    status, body = get(endpoint, f"/v1/messages?{query}")
    if status in (401, 403):
        raise NoAnswer(f"refused (status {status}): -c must name its own configuration")
    try:
        answer: Any = json.loads(body)
        if status in (400, 503):
            raise Refused(printable(str(answer["problem"])[:500]))
        if status == 200:
            older = answer["older"]
            return Found(answer, list(_rows(answer)), None if older is None else int(older))
    except (ArithmeticError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise NoAnswer("the answer is not that of a busmon") from error
    raise NoAnswer(f"answered with status {status}")


def _rows(answer: Mapping[str, Any]) -> Iterator[str]:
    for one in answer["messages"]:
        judged = f"{one['outcome']} {one['reason']}".rstrip()
        about = ", ".join(f"{key['kind']} {key['value']}" for key in one["keys"])
        when = format_time(float(one["received_at"]))
        yield printable(f"{when}  {one['bus']}  {one['topic']}  {judged}  {one['id']}")
        if about:
            yield printable(f"    {about}")
