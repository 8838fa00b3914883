"""How `busmon find` shows what the running service found."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from busmon.commands import service
from busmon.commands.endpoint import FOREIGN, Endpoint, NoAnswer
from busmon.text import format_time, printable


class Found(NamedTuple):
    """What the service found."""

    answer: dict[str, Any]  # as it is
    lines: list[str]  # for people
    some: bool  # whether there are messages in it


def ask(endpoint: Endpoint, asked: Mapping[str, str | None]) -> Found:
    """Have the service search; raises NoAnswer and Refused."""
    answer = service.ask(endpoint, "/v1/messages", asked)
    try:
        return Found(answer, list(lines(answer)), bool(answer["messages"]))
    except service.UNREADABLE as error:
        raise NoAnswer(FOREIGN) from error


def lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield what people read of an answer."""
    older, archive = answer["older"], answer["archive"]
    yield from _rows(answer)
    if not answer["messages"]:
        yield f"No message matches{'' if older is None else ' so far'}."
    yield from map(printable, answer["hints"])
    if older is not None:
        yield f"There can be more: --before {int(older)}"
    if archive is not None:
        yield printable(f"What the archive has: {archive}")


def _rows(answer: Mapping[str, Any]) -> Iterator[str]:
    for one in answer["messages"]:
        judged = f"{one['outcome']} {one['reason']}".rstrip()
        about = ", ".join(f"{key['kind']} {key['value']}" for key in one["keys"])
        when = format_time(float(one["received_at"]))
        yield printable(f"{when}  {one['bus']}  {one['topic']}  {judged}  {one['id']}")
        if about:
            yield printable(f"    {about}")
