"""Help, version, completion, and wrong command lines."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import busmon, busmon_process

SCRIPT = Path(sys.executable).with_name("busmon")
COMMANDS = (
    "run",
    "check-config",
    "explain",
    "replay",
    "demo",
    "lint",
    "gaps",
    "incidents",
    "learn",
    "trace",
    "status",
    "find",
    "forget",
    "ledger",
)
OUTCOMES = ("handled", "ignored", "unmapped", "invalid", "error")

# Prints the top-level modules that the help of all commands has imported.
IMPORTED = """
import sys
before = set(sys.modules)
from click.testing import CliRunner
from busmon.cli.main import main
groups = ("gaps", "ledger")
deeper = ([group, name] for group in groups for name in main.commands[group].commands)
for command in [[], *([name] for name in main.commands), *deeper]:
    assert CliRunner().invoke(main, [*command, "--help"]).exit_code == 0
modules = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(modules - sys.stdlib_module_names))
"""


def test_the_module_and_the_script_print_their_version() -> None:
    for program in ((sys.executable, "-m", "busmon"), (SCRIPT,)):
        printed = busmon_process("--version", program=program).stdout
        assert re.fullmatch(r"busmon, version \d+\.\d+\.\d+\S*\n", printed)


def test_help_names_every_command_with_a_whole_sentence() -> None:
    found = {}
    for group in ((), ("gaps",), ("ledger",)):
        _, _, listed = busmon(*group, "--help").stdout.partition("Commands:\n")
        lines = dict(line.split(maxsplit=1) for line in listed.splitlines())
        assert all(line.endswith(".") and not line.endswith("...") for line in lines.values())
        found[group] = set(lines)
    assert found[()] == set(COMMANDS)
    assert "Exit status:" in busmon("--help").stdout


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("run", ["SIGTERM", "$BUSMON_CONFIG", "/etc/busmon/busmon.toml", "--ledger", ":memory:"]),
        ("check-config", ["every problem", "no secret", "--config"]),
        (
            "explain",
            [
                *OUTCOMES,
                "--rules",
                "--user",
                "--project",
                "--subtopics",
                "--json",
                "standard input",
            ],
        ),
        ("replay", ["--format", "--push", "--config", "standard error", "no ledger"]),
        ("demo", ["--listen", "127.0.0.1:12876", "--rate", "until interrupted"]),
        ("gaps", ["--since", "--format", "Datagrepper", "proves nothing", "0 no gap is open"]),
        ("incidents", ["--since", "7d", "markdown", "post-mortem", "13 months"]),
        ("learn", ["--weeks", "[archive]", "go on", "only says how far", "1 it was interrupted"]),
        ("gaps accept", ["--window", "--reason", "[web.operators]", "1 no open gap matches"]),
        ("gaps reopen", ["NUMBER", "--operator", "busmon gaps accepted"]),
        ("gaps accepted", ["by whom", "--json", "13 months"]),
        ("trace", ["--json", "1 it is not", "--ledger"]),
        ("ledger migrate", ["backup", "one transaction", "1 nothing was changed", "--config"]),
        ("status", ["--url", "whose fault", "publisher", "0 all is well on every bus, 1"]),
        ("lint", ["--fedora-toml", "--listener-source", "--worker-source", "never run"]),
    ],
)
def test_the_help_of_a_command_explains_it(command: str, words: list[str]) -> None:
    text = busmon(*command.split(), "--help").stdout
    flat = " ".join(text.split())
    assert [word for word in words if word not in flat] == []
    options = re.findall(r"^  (?:-\w, )?--[\w-]+[^\n]*(?:\n {4,}[^\n]*)*", text, re.MULTILINE)
    assert [option for option in options if not re.search(r"\S {2,}\S|\n", option)] == []
    assert busmon(*command.split(), "-h").stdout == text


def test_help_imports_no_other_library_than_click() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("busmon click\n", "")


def test_bash_completes_commands_and_options() -> None:
    complete = {"_BUSMON_COMPLETE": "bash_complete"}

    def completions(*words: str) -> list[str]:
        env = complete | {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        return busmon_process(program=(SCRIPT,), env=env).stdout.split()

    assert completions("busmon", "re") == ["plain,replay"]
    assert completions("busmon", "gaps", "--since", "1h", "--un") == ["plain,--unconfirmed"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nonsense"], "No such command 'nonsense'."),
        (["explain", "missing.jsonl"], "File 'missing.jsonl' does not exist."),
        (["explain", "/"], "File '/' is a directory."),
        (["explain", "--rules", "no-such"], "all or module:callable, not 'no-such'"),
        (["explain", "--rules", "tests.none:get"], "cannot import tests.none:get: ModuleNotFound"),
        (["explain", "--rules", "tests.support.listener:NOT_CALLABLE"], "is not callable"),
        (["replay"], "Missing argument 'FILE...'."),
        (["replay", "-", "--format", "xml"], "'xml' is not one of 'table', 'json', 'prometheus'."),
        (["replay", "-", "--push", "localhost"], "should be http://HOST:PORT or https://HOST:PORT"),
        (["replay", "-", "--push", "http://host:abc"], "should be http://HOST:PORT or"),
        (["replay", "-", "--push", "http://a..b"], "no host can have this name: is a part of it"),
        (["demo", "--listen", "nonsense"], "should be host:port, an IPv6 address in brackets"),
        (["demo", "--listen", "127.0.0.1:65536"], "should be host:port"),
        (["demo", "--rate", "0"], "0.0 is not in the range x>0."),
        (["demo", "--rate", "nan"], "'--rate': should be a number"),
        (["demo", "--rate", "inf"], "'--rate': should be a number"),
        (["run", "--ledger", ""], "'--ledger': should not be empty"),
        (["gaps", "--ledger", ""], "'--ledger': should not be empty"),
        (["trace", "id", "--ledger", ""], "'--ledger': should not be empty"),
        (["find", "", " "], "QUERY: should not be empty"),
        (["find", "x", "--limit", "ten"], "'--limit': 'ten' is not a valid whole number."),
        (["gaps", "accept", "--reason", ""], "'--reason': should not be empty"),
        (["forget", "--owner", " "], "'--owner': should not be empty"),
        (
            ["run", "--ledger", "postgresql://u@h/d"],
            "'--ledger': should be a file; a database is named by [ledger] url",
        ),
    ],
)
def test_a_wrong_command_line_is_reported_with_status_2(words: list[str], error: str) -> None:
    ended = busmon(*words, status=2)
    assert error in " ".join(ended.stderr.split())
    assert ended.stdout == ""


def test_a_secret_in_a_pushgateways_url_is_refused_and_not_repeated(secret: str) -> None:
    ended = busmon("replay", "-", "--push", f"http://me:{secret}@localhost:9091", status=2)
    assert secret not in ended.stdout + ended.stderr
