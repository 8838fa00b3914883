"""`[audit.reports]`, and every way to get it wrong."""

from pathlib import Path

import pytest

from tests.config import MQTT, SECRET, problems, read


def test_the_token_may_come_from_a_file(directory: Path) -> None:
    (directory / "token").write_text(f"{SECRET}\n")
    text = MQTT + '[audit.reports]\nbus = "centos"\ntoken_file = "token"\n'
    reports = read(directory, text).audit.reports
    assert reports
    assert reports.token.get_secret_value() == SECRET
    assert SECRET not in repr(reports)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["bus: is missing", "token: is missing"]),
        ('bus = "fedora"\ntoken = "x"', ["bus: no such bus: fedora"]),
        ('bus = "centos"\ntoken = ""', ["token: should not be empty"]),
        ('bus = "centos"\ntoken = "café"', ["token: should be of printable ASCII characters"]),
        ('bus = "centos"\ntoken = "a\\nb"', ["token: should be of printable ASCII characters"]),
    ],
)
def test_a_problem_is_reported_with_its_place(
    directory: Path, text: str, expected: list[str]
) -> None:
    found = problems(directory, f"{MQTT}[audit.reports]\n{text}\n")
    assert found == [f"audit.reports.{problem}" for problem in expected]
