"""`[sentry]` in a configuration: what is wrong with it, and what is shown of it."""

from pathlib import Path

import pytest

from tests.support.command import busmon, busmon_process, without
from tests.support.sentry import KEY


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("environment = 'stg'", "sentry.dsn: is missing"),
        (f"dsn = '{KEY}'", "sentry.dsn: should be https://KEY@HOST/PROJECT, as Sentry shows it"),
        (f"dsn = 'https://{KEY}@host:1x/7'", "sentry.dsn: should be https://KEY@HOST/PROJECT, as"),
        (f"dsn = 'https://{KEY}@host/name'", "sentry.dsn: should be https://KEY@HOST/PROJECT, as"),
        (f"dsn = 'https://host/{KEY}7'", "sentry.dsn: should be https://KEY@HOST/PROJECT, as"),
        ("dsn = ''", "sentry.dsn: should not be empty"),
        *(
            (f"dsn = 'https://{KEY}@host/7'\nenvironment = {name}", "sentry.environment: should be")
            for name in ("''", "'a b'", "'a/b'", "'None'", f"'{'a' * 65}'", '"a\\u0000"')
        ),
    ],
)
def test_what_sentry_would_refuse_is_a_problem_and_no_key_is_shown(
    configuration: Path, lines: str, problem: str
) -> None:
    with configuration.open("a") as file:
        file.write(f"[sentry]\n{lines}\n")
    errors = busmon("check-config", "-c", configuration, status=2).stderr
    assert errors.startswith(f"busmon: {problem}")
    assert KEY not in errors


def test_the_summary_names_host_and_environment_but_no_key(configuration: Path) -> None:
    variables = {
        "BUSMON__SENTRY__DSN": f"https://{KEY}@sentry.example.com/7",
        "BUSMON__SENTRY__ENVIRONMENT": "prod",
    }
    output = busmon("check-config", "-c", configuration, env=variables).stdout
    assert output.endswith("sentry\n  reports     to sentry.example.com, environment prod\n")
    assert KEY not in output


def test_without_its_library_the_section_is_a_problem(configuration: Path, tmp_path: Path) -> None:
    process = without("sentry_sdk", tmp_path)
    busmon_process("check-config", "-c", configuration, **process)
    with configuration.open("a") as file:
        file.write(f"[sentry]\ndsn = 'https://{KEY}@sentry.example.com/7'\n")
    ended = busmon_process("check-config", "-c", configuration, **process, status=2)
    text = 'sentry: needs sentry-sdk: install busmon with its extra "sentry"'
    assert ended.stderr == f"busmon: {text}\n"
