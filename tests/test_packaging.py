"""The distribution: what it is called, and what it declares."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path
from zipfile import ZipFile

from busmon import __version__
from busmon.rules import SCHEMA_PACKAGES

PROJECT = Path(__file__).parents[1]
TAP = PROJECT / "busmon" / "tap"
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


def _imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _distribution(requirement: str) -> str:
    """Return the normalized name in a requirement such as `celery[redis]>=5.3`."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~! ;]", requirement)[0]).lower()


def test_the_installed_distribution_has_the_version_of_the_package() -> None:
    assert version(PYPROJECT["name"]) == __version__


def test_the_extra_for_schemas_has_what_packits_listener_has() -> None:
    extra = map(_distribution, PYPROJECT["optional-dependencies"]["schemas"])
    assert sorted(extra) == sorted(SCHEMA_PACKAGES["packit"])


def test_each_imported_library_is_declared() -> None:
    optional = PYPROJECT["optional-dependencies"].values()
    declared = {
        _distribution(requirement)
        for requirements in (PYPROJECT["dependencies"], *optional)
        for requirement in requirements
    }
    imported = {
        name.partition(".")[0]
        for module in (PROJECT / "busmon").rglob("*.py")
        for name in _imports(module)
    } - {"busmon", *sys.stdlib_module_names}
    installed = packages_distributions()
    needed = {_distribution(name) for package in imported for name in installed[package]}
    assert needed <= declared


def _wheel(project: Path, directory: Path) -> set[str]:
    """Build a wheel, and return the names of the files in it."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
    subprocess.run([*command, directory], cwd=project, check=True, capture_output=True)
    [wheel] = directory.iterdir()
    return set(ZipFile(wheel).namelist())


def test_the_wheels_of_busmon_and_of_the_tap_share_no_file(tmp_path: Path) -> None:
    busmon, tap = _wheel(PROJECT, tmp_path / "busmon"), _wheel(TAP, tmp_path / "tap")
    assert busmon & tap == set()
    assert {name for name in tap if ".dist-info/" not in name} == {"busmon_tap.py"}
    assert {name.split("/")[0] for name in busmon if ".dist-info/" not in name} == {"busmon"}
    # From there the image's file is copied to a listener.
    assert "busmon/tap/busmon_tap.py" in busmon
    assert {"busmon/web/templates/base.html", "busmon/web/static/style.css"} <= busmon
    assert not [name for name in busmon if name.endswith((".md", ".toml"))]


def test_the_tap_has_the_version_of_busmon_and_brings_nothing() -> None:
    tap = tomllib.loads((TAP / "pyproject.toml").read_text())["project"]
    assert tap["version"] == __version__
    assert tap["requires-python"] == ">=3.9"
    assert tap["dependencies"] == []
