"""The documents: links lead somewhere, and what they show of the code is true."""

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import get_args

import click
import pytest

from busmon.cli.main import main
from busmon.config.load import load
from busmon.config.model import Config
from busmon.rules.packit import TABLE
from busmon.settings.section import Section
from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.bus import Bus
from busmon.sources.filters import matches
from busmon.sources.table import SOURCES

PROJECT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", ".github/*.md", "busmon/**/*.md", "config/**/*.md", "tests/**/*.md")
    for path in PROJECT.glob(pattern)
)
README = PROJECT / "README.md"


def prose(document: Path) -> str:
    """Return the text without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_each_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_each_row_belongs_to_a_table_with_a_heading(document: Path) -> None:
    for rows in re.findall(r"(?:^\|.*\n)+", prose(document), re.MULTILINE):
        assert re.search(r"\A.*\n\|(?: ?:?-{3,}:? ?\|)+\n", rows), rows


def test_the_readme_is_short_and_leads_to_every_other_document() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 120
    links = {
        (PROJECT / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)]+)\)", text)
    }
    assert {path for path in DOCUMENTS if path != README} <= links


def test_the_readme_shows_every_command_with_all_its_options() -> None:
    row = re.compile(
        r"^\| `busmon ([a-z-]+(?: (?:accept|reopen|accepted|copy|migrate)\b)?)([^`]*)` \|",
        re.MULTILINE,
    )
    rows = dict(row.findall(README.read_text()))
    commands = {name: one for name, one in main.commands.items() if name != "ledger"}
    for group, inner in main.commands.items():
        if isinstance(inner, click.Group):
            commands |= {f"{group} {name}": command for name, command in inner.commands.items()}
    assert rows.keys() == commands.keys()
    for name, command in commands.items():
        options = [param.opts for param in command.params if isinstance(param, click.Option)]
        shown = set(re.findall(r"(?<![\w-])--?[a-z-]+", rows[name]))
        assert all(len(shown & set(names)) == 1 for names in options), name
        assert shown <= {name for names in options for name in names}, name


# Of the same publishers as topics with a rule; messages of all of them come every day.
UNMAPPED = [
    f"org.fedoraproject.prod.{topic}"
    for topic in (
        *("copr.chroot.start", "copr.chroot.end", "buildsys.untag", "buildsys.rpm.sign"),
        *("buildsys.repo.init", "buildsys.repo.done", "buildsys.package.list.change"),
    )
]


def test_the_first_configuration_in_the_readme_is_accepted(tmp_path: Path) -> None:
    [text] = re.findall(r"<<'EOF'\n(.*?)^EOF$", README.read_text(), re.MULTILINE | re.DOTALL)
    example = str(PROJECT / "config/fedora.toml")  # as Fedora's package installs it
    path = tmp_path / "busmon.toml"
    path.write_text(text.replace("/etc/fedora-messaging/fedora.toml", example))
    [(name, bus)] = load(path, {}).buses.items()
    assert name == "fedora"
    assert isinstance(bus, AmqpBus)
    assert bus.routing_keys
    for key in bus.routing_keys:  # a topic without a rule would be an alert that never ends
        assert any(matches(key, topic) for topic in TABLE), key
        assert not [topic for topic in UNMAPPED if matches(key, topic)], key


def test_the_example_of_a_rule_is_the_code() -> None:
    contributing = (PROJECT / ".github/CONTRIBUTING.md").read_text()
    [rule] = re.findall(r"```python\n(.*?)^ *```", contributing, re.MULTILINE | re.DOTALL)
    [entry] = re.findall(r"`(FEDORA \+ .*?)`", contributing)
    code = (PROJECT / "busmon/rules/packit.py").read_text()
    assert dedent(rule) in code
    assert entry in code


def sections(model: type[Section], place: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield the place of each section in a model, and its settings."""
    settings = set()
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or [field.annotation]  # "or None" if it is optional
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]
        for kind in inner:
            yield from sections(kind, f"{place}.{name}".lstrip("."))
        settings |= set() if inner else {name}
    if settings and place:
        yield place, settings


def test_the_reference_lists_every_setting_of_every_section() -> None:
    documented = {}
    reference = (PROJECT / "config/README.md").read_text().partition("\n## Container image")[0]
    for part in reference.split("\n### ")[1:]:
        heading = re.match(r'`\[([\w.]+)\]`|A bus of `type = "(\w+)"`', part)
        if heading:  # the tap's settings are not in this configuration
            cells = re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)
            documented[heading[1] or heading[2]] = {
                name for cell in cells for name in re.findall(r"`(\w+)`", cell)
            }
    common = set(Bus.model_fields)
    buses = {name: set(bus.model_fields) - common for name, bus in SOURCES.items()}
    assert documented == dict(sections(Config)) | {"buses.NAME": common} | buses
