"""`[archive]`: Datagrepper, which stores what came over Fedora's bus."""

from typing import Annotated
from urllib.parse import urlsplit

from busmon.settings.section import File, Section, checked, matching
from busmon.settings.urls import check_url


def _base(text: str) -> None:
    check_url(text, "should be https://HOST[:PORT]/PATH of a Datagrepper")


def _proxy(text: str) -> None:
    problem = "should be http://HOST:PORT of an HTTP proxy"
    check_url(text, problem)
    parts = urlsplit(text)
    if parts.scheme != "http" or parts.path not in {"", "/"}:
        raise ValueError(problem)


Contact = Annotated[
    str,
    matching(
        r"[ !-'*-\[\]-~]{3,200}",  # of a comment in a User-Agent
        "should be an address or URL at which you can be reached, of 3 to 200 printable ASCII"
        " characters without parentheses and backslashes",
    ),
]


class Archive(Section):
    """`[archive]`: from which Datagrepper busmon learns, and for which bus."""

    url: Annotated[str, checked(_base)]
    bus: str
    contact: Contact  # in the User-Agent
    proxy: Annotated[str, checked(_proxy)] | None = None
    ca: File | None = None
