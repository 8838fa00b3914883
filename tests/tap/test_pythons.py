"""The tap on each Python that a listener may have, and whatever may be wrong with it."""

import ast
import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from tests.support.busmon_process import PROJECT
from tests.support.listener_image import TAP
from tests.support.pythons import ON_CI, WANTED, found
from tests.support.tap_reports import TOKEN, Bench, served

RUNNER = PROJECT / "tests" / "support" / "tap_runner.py"
NOTHING = "ERROR: the tap reports nothing to busmon: "
WRONG = "[consumer_config.busmon]: wrong or missing: "
EVERY = "bus, url, either token or token_file"
FAULTS = {
    "no settings": WRONG + EVERY,
    "settings that are no table": WRONG + EVERY,
    "no tables at all": WRONG + EVERY,
    "a callback that is a number": f"{WRONG}bus, callback, url, either token or token_file",
    "an unknown setting": f"{WRONG}tokn",
    "a number": f"{WRONG}bus",
    "passed is no text": f"{WRONG}passed",
    "passed is another word": 'passed should be "task" or "returned"',
    "no port": "url should be http://HOST:PORT/v1/reports, or https://…",
    "two tokens": f"{WRONG}either token or token_file",
    "no CA": "[Errno 2] No such file or directory",
    "no TLS": "import of ssl halted; None in sys.modules",
    "no Celery": "import of celery.signals halted; None in sys.modules",
    "a Celery without the signal": (
        "cannot import name 'after_task_publish' from '<unknown module name>' (unknown location)"
    ),
    "an odd Celery": "an odd signal",
    "no thread": "can't start new thread",
}


@cache
def run(version: str) -> tuple[Any, Bench]:
    """Return what the runner printed, and the busmon to which it reported."""
    bench = Bench()
    with served(bench) as url:
        done = subprocess.run(
            [found()[version], "-W", "error", RUNNER, f"{url}/v1/reports", TOKEN],
            env=os.environ | {"PYTHONPATH": str(TAP)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), bench


def test_the_tap_is_tried_on_every_python() -> None:
    missing = [version for version in WANTED if version not in found()]
    # A skip, so that pytest's summary names them; each that is here is tried below. Never on CI.
    if missing and not os.environ.get("CI"):
        pytest.skip(f"not installed: Python {', '.join(missing)}")
    assert {*missing} & {*ON_CI} == set()


@pytest.mark.parametrize("version", found())
def test_on_each_python_the_tap_reports_what_the_callback_did(version: str) -> None:
    printed, bench = run(version)
    assert printed["returned"] == ["passed", "dropped", "oddly passed"]
    assert printed["returned without Celery"] == "without Celery"
    assert printed["async"] == ["passed by a coroutine"] * 2
    assert {(known.topic, known.state, known.task) for known in bench.stored()} == {
        ("passed", "passed", "a task"),
        ("dropped", "dropped", None),
        ("oddly passed", "passed", None),
        ("without Celery", "passed", None),
    }


@pytest.mark.parametrize("version", found())
def test_whatever_is_wrong_with_the_tap_the_listener_works_without_it(version: str) -> None:
    printed, _ = run(version)
    for fault, problem in FAULTS.items():
        is_plain, returned, [line] = printed["faults"].pop(fault)
        assert (fault, is_plain, returned) == (fault, True, "with a fault")
        assert (fault, line.startswith(NOTHING + problem)) == (fault, True), line
    assert printed["faults"] == {}


@pytest.mark.parametrize("version", found())
def test_the_tap_never_wraps_itself(version: str) -> None:
    printed, _ = run(version)
    why = '[consumer_config.busmon] should have callback = "module:callable"'
    assert printed["without callback"] == why


@pytest.mark.parametrize("version", found())
def test_a_forked_listener_works_without_the_tap(version: str) -> None:
    printed, bench = run(version)
    line = f"{NOTHING.removesuffix(': ')} from a forked process"
    assert printed["forked"] == [["forked", "forked"], [line]]
    assert "forked" not in {known.topic for known in bench.stored()}


@pytest.mark.parametrize("version", found())
def test_a_message_that_cannot_be_reported_is_counted_as_lost(version: str) -> None:
    printed, bench = run(version)
    line = "ERROR: the tap cannot report a message"
    assert printed["odd"] == [["odd message", "odd message"], [line]]
    assert bench.value("busmon_tap_lost_reports_total", bus="fedora") == 2


CALLS = [
    "logging.getLogger('fedora_messaging.busmon_tap')",
    "ContextVar('busmon_published', default=None)",
]


def cannot_fail(statement: ast.stmt) -> bool:
    """Return whether a statement is sure to work when the module is imported."""
    match statement:
        case ast.Import(names=names):
            return {alias.name for alias in names} <= sys.stdlib_module_names
        case ast.ImportFrom(module=module):
            return module in {"importlib", "urllib.parse", *sys.stdlib_module_names}
        case (
            ast.FunctionDef(decorator_list=decorators)
            | ast.AsyncFunctionDef(decorator_list=decorators)
        ):
            return not decorators
        case ast.ClassDef(bases=[], keywords=[], decorator_list=[], body=body):
            return all(map(cannot_fail, body))
        case (
            ast.Expr(value=value)
            | ast.Assign(value=value)
            | ast.AnnAssign(value=ast.expr() as value)
        ):
            return isinstance(value, ast.Constant | ast.Set) or ast.unparse(value) in CALLS
    return False


BROKEN_TLS = """
import sys

class Broken:
    def find_spec(self, name, *_):
        if name == "ssl":
            raise OSError("cannot load libssl")

sys.meta_path.insert(0, Broken())
import busmon_tap
"""


@pytest.mark.parametrize("version", found())
def test_the_tap_can_be_imported_with_a_broken_tls_library(version: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(TAP)}
    subprocess.run([found()[version], "-c", BROKEN_TLS], env=environment, check=True)


def test_the_import_of_the_tap_runs_nothing_that_can_fail() -> None:
    tree = ast.parse((TAP / "busmon_tap.py").read_text(), feature_version=(3, 9))
    assert [ast.unparse(statement) for statement in tree.body if not cannot_fail(statement)] == []
    assert "from __future__ import annotations" in ast.unparse(tree)  # so none is evaluated
