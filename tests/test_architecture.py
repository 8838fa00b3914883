"""Who may import whom: read from the modules' text, wherever in them an import stands."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Set
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from busmon.rules import RULE_SETS
from busmon.sources.table import SOURCES

PACKAGE = Path(__file__).parents[1] / "busmon"

# A package imports only from those before it in this list.
ORDER = [
    "tap",
    "message", "text", "clock", "signals", "threads", "backoff", "problem_log", "http_client",
    "tls", "settings", "ledger", "rules", "logs", "sentry", "pipeline", "pruning", "sources",
    "metrics", "silence", "audit", "archive", "levels", "observers", "diagnosis", "config",
    "commands", "web", "receiver", "replicas", "service", "follower", "demo", "cli", "__main__",
]  # fmt: skip

# Where a library may be imported: in modules whose names begin so.
LIBRARIES = {
    "fedora_messaging": ("tap", "sources.amqp", "sources.fedora_"),
    "pika": ("sources.amqp", "sources.fedora_message"),
    "fastjsonschema": ("sources.fedora_schema",),
    "jsonschema": ("sources.fedora_",),
    "msgspec": (
        "sources.json_body",
        "archive.client",
        "observers.tap_batch",
        "observers.celery_events",
        "commands.acceptances",
        "commands.questions",
        "commands.service",
        "web.api",
        "web.gaps",
        "web.pages.commands",
        "web.forget",
    ),
    "paho": (),
    "twisted": (),
    "stomp": ("sources.stomp",),
    "prometheus_client": (
        "metrics",
        "silence",
        "archive",
        "audit",
        "levels",
        "observers",
        "diagnosis",
        "web",
        "replicas",
        "commands.replay",
    ),
    "click": ("cli", "tap"),
    "celery": ("tap", "observers.celery"),
    "sentry_sdk": ("sentry",),
    "jinja2": ("web.pages",),
    "markupsafe": ("web.pages",),
    "psycopg": ("ledger.postgresql",),
    "sqlite3": ("ledger",),
}
CLIENTS = {
    "celery",
    "fedora_messaging",
    "paho",
    "pika",
    "psycopg",
    "sentry_sdk",
    "stomp",
    "twisted",
}

SQL = re.compile(
    r"\b(SELECT\b.+\bFROM|INSERT INTO|UPDATE \w+ SET|DELETE FROM|PRAGMA \w|CREATE TABLE)\b", re.S
)


def name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name(path): path for path in sorted(PACKAGE.rglob("*.py")) if name(path)}


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return all parts of a module."""
    return tuple(ast.walk(ast.parse(path.read_text())))


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of whatever is imported."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", MODULES)
def test_a_package_imports_only_from_those_before_it(module: str) -> None:
    own = module.partition(".")[0]
    below = {*ORDER[: ORDER.index(own)], own, "__version__"}
    used = {i.split(".")[1] for i in imports(MODULES[module]) if i.startswith("busmon.")}
    assert used <= below


def test_the_readme_describes_the_packages_in_this_order() -> None:
    _, _, table = (PACKAGE / "README.md").read_text().partition("| package | purpose |")
    first_cells = re.findall(r"^\| (`.*?`) \|", table.partition("## ")[0], re.MULTILINE)
    described = [name for cell in first_cells for name in re.findall(r"`(\w+)(?:/|\.py)`", cell)]
    assert [*described, "__main__"] == ORDER


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    users = [m for m, p in MODULES.items() if library in {i.split(".")[0] for i in imports(p)}]
    assert [user for user in users if not user.startswith(LIBRARIES[library])] == []


def test_only_the_ledger_has_sql() -> None:
    texts = {
        module: node.value
        for module, path in MODULES.items()
        for node in nodes(path)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    }
    assert {module for module in texts if module.partition(".")[0] != "ledger"} == set()
    assert "ledger.messages" in texts


@pytest.mark.parametrize(
    ("module", "others"),
    [
        ("busmon.pipeline", LIBRARIES.keys() - {"sqlite3"}),
        # They go over the tables of sources and observers.
        ("busmon.config.load", CLIENTS),
        ("busmon.service", CLIENTS | {"jinja2"}),  # the pages load when one is asked for
    ],
)
def test_a_module_does_not_load_a_library_even_through_others(
    module: str, others: Set[str]
) -> None:
    script = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, check=True
    )
    assert set(done.stdout.decode().split()) & others == set()


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_is_in_the_table_under_the_type_of_its_bus(kind: str) -> None:
    assert get_args(SOURCES[kind].model_fields["type"].annotation) == (kind,)


def test_settings_name_no_source_observer_or_rule_set() -> None:
    text = "".join(path.read_text().lower() for path in (PACKAGE / "settings").glob("*.py"))
    names = {*SOURCES, *RULE_SETS, *CLIENTS, "tap", "redis"} - {"all"}
    assert {name for name in names if re.search(rf"\b{name}\b", text)} == set()


def test_no_source_loads_a_client_with_threads_or_a_reactor_of_its_own() -> None:
    sources = ", ".join(f"busmon.sources.{name}.source" for name in ("amqp", "mqtt", "stomp"))
    script = f"import sys, {sources}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, check=True
    )
    unwanted = {"twisted", "crochet", "OpenSSL", "paho", "pika.adapters.twisted_connection"}
    assert set(done.stdout.decode().split()) & unwanted == set()


def names(path: Path) -> Iterator[str]:
    """Yield what is imported, and each attribute that is used, as it is written."""
    yield from imports(path)
    for node in nodes(path):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def test_the_environment_is_read_by_the_command_line_alone() -> None:
    """Except that the rules set what a listener's own code reads there."""
    environment = {"os.environ", "os.environb", "os.getenv", "os.getenvb"}
    readers = {module for module, path in MODULES.items() if environment & set(names(path))}
    assert readers <= {"cli.common", "cli.operator", "config.load", "rules.imported"}


def test_no_module_is_longer_than_300_lines() -> None:
    lengths = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    assert {module: length for module, length in lengths.items() if length > 300} == {}


def test_the_name_of_a_test_has_at_most_70_characters() -> None:
    files = Path(__file__).parent.rglob("test_*.py")
    trees = [ast.parse(file.read_text()) for file in files]
    functions = [n.name for t in trees for n in ast.walk(t) if isinstance(n, ast.FunctionDef)]
    assert [name for name in functions if name.startswith("test_") and len(name) > 70] == []
