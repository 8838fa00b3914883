"""How `busmon find` shows what the running service found."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from busmon.commands import service
from busmon.commands.endpoint import FOREIGN, Endpoint, NoAnswer
from busmon.text import format_time, printable


class Found(NamedTuple):
    """What the service found."""

    answer: dict[str, Any]  # as it is
    rows: list[str]  # for people
    older: int | None
    archive: str | None  # URL of what the archive has


def ask(endpoint: Endpoint, asked: Mapping[str, str | None]) -> Found:
    """Have the service search; raises NoAnswer and Refused."""
    answer = service.ask(endpoint, "/v1/messages", asked)
    try:
        older, archive = answer["older"], answer["archive"]
        return Found(
            answer,
            list(_rows(answer)),
            None if older is None else int(older),
            None if archive is None else printable(str(archive)),
        )
    except service.UNREADABLE as error:
        raise NoAnswer(FOREIGN) from error


def _rows(answer: Mapping[str, Any]) -> Iterator[str]:
    for one in answer["messages"]:
        judged = f"{one['outcome']} {one['reason']}".rstrip()
        about = ", ".join(f"{key['kind']} {key['value']}" for key in one["keys"])
        when = format_time(float(one["received_at"]))
        yield printable(f"{when}  {one['bus']}  {one['topic']}  {judged}  {one['id']}")
        if about:
            yield printable(f"    {about}")
