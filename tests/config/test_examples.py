"""The configurations that busmon ships: accepted, and complete."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_args, get_origin

from busmon.config.load import load
from busmon.config.model import Config
from busmon.settings.section import Section
from busmon.sources.amqp import fedora_toml
from busmon.sources.table import SOURCES

EXAMPLES = Path(__file__).parents[2] / "config"


def test_the_examples_are_accepted_from_a_clean_clone() -> None:
    config = load(EXAMPLES / "busmon.toml", {})
    assert list(config.buses) == ["fedora", "centos"]
    assert len(fedora_toml.read(EXAMPLES / "fedora.toml").bindings) == 15


def uncommented(*, examples: bool) -> str:
    """The example as it is with every setting on, with or without those that have no default."""
    lines = (EXAMPLES / "busmon.toml").read_text().splitlines()
    kept = [line for line in lines if examples or "# e.g." not in line]
    return re.sub(r"(?m)^# (?=\w+ = |\[)", "", "\n".join(kept))


def test_the_example_is_accepted_with_every_default_and_every_bus_in_it(tmp_path: Path) -> None:
    (tmp_path / "busmon.toml").write_text(uncommented(examples=False))
    (tmp_path / "fedora.toml").write_bytes((EXAMPLES / "fedora.toml").read_bytes())
    (tmp_path / "recorded.jsonl").touch()
    config = load(tmp_path / "busmon.toml", {})
    sections = [config.web, config.ledger, config.rules.packit, config.limits, config.log]
    for section in [*sections, *config.buses.values()]:
        for name, field in type(section).model_fields.items():
            assert field.is_required() or getattr(section, name) == field.get_default(
                call_default_factory=True
            ), name


def test_the_example_shows_every_setting_that_exists() -> None:
    shown = tomllib.loads(uncommented(examples=True))
    buses = {bus["type"]: bus.keys() for bus in shown.pop("buses").values()}
    assert buses == {kind: bus.model_fields.keys() for kind, bus in SOURCES.items()}
    assert {*shown, "buses"} == Config.model_fields.keys()
    for name, table in shown.items():
        assert_complete(table, Config.model_fields[name].annotation)


def assert_complete(table: dict[str, Any], annotation: Any) -> None:
    """A table shows every setting of its section, and so do the sections in it."""
    if get_origin(annotation) is dict:  # a table for each name
        for named in table.values():
            assert_complete(named, get_args(annotation)[1])
        return
    kinds = get_args(annotation) or [annotation]  # "or None" where it is optional
    for section in [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]:
        fields = section.model_fields
        assert table.keys() == fields.keys()
        for name, value in table.items():
            assert_complete(value, fields[name].annotation)
