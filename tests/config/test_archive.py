"""`[archive]` in a configuration: what is wrong with it, and what is shown of it."""

from pathlib import Path

import pytest

from busmon.config.describe import describe
from tests.config import AMQP, problems, read

URL = "https://apps.fedoraproject.org/datagrepper"
NO_URL = "archive.url: should be https://HOST[:PORT]/PATH of a Datagrepper"
NO_PROXY = "archive.proxy: should be http://HOST:PORT of an HTTP proxy"
NO_CONTACT = (
    "archive.contact: should be an address or URL at which you can be reached, of 3 to 200"
    " printable ASCII characters without parentheses and backslashes"
)
NO_CA = "archive.ca: exists: should hold a certificate in PEM format (no certificate or crl found)"


def section(**changed: str) -> str:
    settings = {"url": URL, "bus": "fedora", "contact": "me@example.com"} | changed
    lines = (f"{key} = '{value}'" for key, value in settings.items())
    return "\n".join([AMQP, "[archive]", *lines])


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"url": "apps.fedoraproject.org/datagrepper"}, NO_URL),
        ({"url": f"{URL}?start=1"}, NO_URL),
        ({"url": f"{URL}/ x"}, NO_URL),
        ({"url": "https://host:0/"}, NO_URL),
        ({"url": "https://host:x/"}, NO_URL),
        ({"url": "https://me:secret@host/"}, "archive.url: should hold no user and no password"),
        ({"bus": "umb"}, "archive.bus: no such bus: umb"),
        ({"contact": "me"}, NO_CONTACT),
        ({"contact": "me (at home)"}, NO_CONTACT),
        ({"contact": "jürgen@example.com"}, NO_CONTACT),
        ({"proxy": "https://proxy:3128"}, NO_PROXY),
        ({"proxy": "http://proxy:3128/path"}, NO_PROXY),
        ({"proxy": "http://u:p@proxy"}, "archive.proxy: should hold no user and no password"),
        ({"ca": "exists"}, NO_CA),
        ({"colour": "1"}, "archive.colour: no such setting"),
    ],
)
def test_wrong_settings_are_named(directory: Path, changed: dict[str, str], expected: str) -> None:
    assert problems(directory, section(**changed)) == [expected]


def test_the_summary_names_the_archive(directory: Path) -> None:
    shown = describe(read(directory, section(proxy="http://proxy:3128")))
    line = f"asks        {URL} about fedora, through http://proxy:3128"
    assert f"archive\n  {line}\n" in f"{shown}\n"
