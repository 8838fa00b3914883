"""`busmon check-config`, and how other commands report a bad configuration."""

import re
from pathlib import Path

import pytest

from tests.support.command import busmon, busmon_process


def test_a_sound_configuration_is_summed_up(configuration: Path, secret: str) -> None:
    output = busmon("check-config", "-c", configuration).stdout
    assert "koji: amqp, rules packit" in output
    assert "git: mqtt, rules all" in output
    assert "http://127.0.0.1:12876/metrics" in output
    assert secret not in output
    assert not (configuration.parent / "ledger.sqlite").exists()
    assert busmon("check-config", env={"BUSMON_CONFIG": str(configuration)}).stdout == output


def test_every_problem_of_a_configuration_is_named_at_once_and_no_secret(
    configuration: Path, secret: str
) -> None:
    with configuration.open("a") as file:
        file.write('colour = "blue"\nqos = 3\n[buses.umb]\ntype = "kafka"\n')
    overrides = {"BUSMON__WEB__LISTEN": "here", "BUSMON__BUSES__KOJI__RULES": "tests.none:get"}
    for command in ("check-config", "run"):
        ended = busmon_process(command, "-c", configuration, env=overrides, status=2)
        assert ended.stdout == ""
        assert secret not in ended.stderr
        lines = ended.stderr.splitlines()
        assert all(line.startswith("busmon: ") for line in lines)
        assert {line.split(": ")[1] for line in lines} == {
            "BUSMON__WEB__LISTEN",
            "BUSMON__BUSES__KOJI__RULES",
            "buses.git.colour",
            "buses.git.qos",
            "buses.umb.type",
        }


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("[web", r"busmon: {path}: Expected .* \(at .*\)\n"),
        ("\xff", r"busmon: {path}: is not UTF-8 text\n"),
        (None, r"busmon: {path}: No such file or directory\n"),
    ],
)
def test_a_file_that_cannot_be_read_as_configuration_is_named(
    tmp_path: Path, text: str | None, output: str
) -> None:
    path = tmp_path / "busmon.toml"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    ended = busmon("check-config", "-c", path, status=2)
    assert re.fullmatch(output.format(path=re.escape(str(path))), ended.stderr)


def test_rules_that_cannot_be_imported_are_a_problem_of_the_configuration(
    configuration: Path,
) -> None:
    text = configuration.read_text()
    for rules, why in [
        ("tests.none:get", "cannot import tests.none:get: ModuleNotFoundError"),
        (
            "tests.support.listener:NOT_CALLABLE",
            "tests.support.listener:NOT_CALLABLE is not callable",
        ),
    ]:
        configuration.write_text(text.replace('"all"', f'"{rules}"'))
        output = busmon("check-config", "-c", configuration, status=2).stderr
        assert output.startswith(f"busmon: buses.git.rules: {why}"), output
        assert len(output.splitlines()) == 1
