"""The documents: each link leads somewhere."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", ".github/*.md", "busmon/**/*.md", "config/**/*.md", "tests/**/*.md")
    for path in PROJECT.glob(pattern)
)


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


def test_the_readme_is_short_and_leads_to_every_other_document() -> None:
    readme = PROJECT / "README.md"
    text = readme.read_text()
    assert len(text.splitlines()) <= 120
    links = {
        (PROJECT / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)]+)\)", text)
    }
    assert {path for path in DOCUMENTS if path != readme} <= links
