"""The start: to the first counted message, to `--help`, and the CPU time until busmon is ready."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from uuid import uuid4

from tests.bench import Options
from tests.bench.brokers import amqp_bus, unlimited_rabbitmq
from tests.bench.consumers import recorded
from tests.bench.installed import WITHOUT_PYTEST, as_installed
from tests.bench.measure import Cell, Spread, Table, cpu_seconds
from tests.bench.stream import from_fedora
from tests.ledger.past import with_past
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.busmon_process import PROJECT, Busmon

MESSAGES = 1_000  # that wait in the queue
ROWS = 120_000  # of the ledger with which busmon becomes ready
SHARE = 0.05  # of a core that the manifests allow
IMPORTS = WITHOUT_PYTEST + "import busmon.cli, busmon.service, busmon.sources.amqp"
TOLD = 6  # packages whose imports take longest


def run(options: Options) -> list[Table]:
    """Start it again and again, each time with a new ledger."""
    interpreter, imports, counted, clicks, helps, ready = [], [], [], [], [], []
    _python(IMPORTS)  # from now on everything is compiled and in the page cache
    with unlimited_rabbitmq(options.directory) as broker:
        for number in range(1, options.rounds + 1):
            interpreter.append(_python("pass"))
            imports.append(_python(IMPORTS))
            counted.append(_start(broker, options.directory / f"start-{number}"))
            clicks.append(_cpu("-c", "import click"))
            helps.append(_cpu("-m", "busmon", "--help"))
            ready.append(_cpu_until_ready(broker, options, options.directory / f"ready-{number}"))
            options.say(f"  {number}/{options.rounds}: {counted[-1]:.2f} s")
    columns = ["to", "seconds after exec"]
    rows: list[list[Cell]] = [
        ["an empty interpreter", Spread.of(interpreter)],
        ["busmon and all libraries imported", Spread.of(imports)],
        ["the first message counted", Spread.of(counted)],
    ]
    notes = [
        "AMQP over TLS as on Fedora's broker; the messages wait in the queue. The first line is"
        " a part of the second, and that of the third. Aim: 0.8 s.",
        f"Of the imports: {_longest()}.",
    ]
    by_click = [one / other for one, other in zip(helps, clicks, strict=True)]
    cpu = Table(
        title="Start: CPU time",
        columns=["to", "ms", "by `import click`", f"s at {SHARE:g} of a core"],
        rows=[
            ["`import click`", _milliseconds(clicks), "", ""],
            ["`busmon --help`", _milliseconds(helps), Spread.of(by_click), ""],
            [
                f"ready, with a ledger of {options.size(ROWS):,} rows",
                _milliseconds(ready),
                "",
                Spread.of([seconds / SHARE for seconds in ready]),
            ],
        ],
        notes=["AMQP over TLS. Aim: `--help` 2 times `import click`; ready in 6 s."],
    )
    return [Table(title="Start", columns=columns, rows=rows, notes=notes), cpu]


def _milliseconds(seconds: Sequence[float]) -> Spread:
    return Spread.of([1000 * one for one in seconds])


def _cpu_until_ready(broker: RabbitMQ, options: Options, directory: Path) -> float:
    directory.mkdir()
    now, queue = time.time(), str(uuid4())
    with_past(directory / "ledger.sqlite", options.size(ROWS), now - 6 * 86_400, now)
    busmon = Busmon(directory, {"bench": amqp_bus(broker, directory, queue, tls=True)})
    with as_installed(busmon):
        busmon.wait_until_ready()
        seconds = cpu_seconds(busmon.pid)
    broker.delete_queue(queue)
    return seconds


def _cpu(*arguments: str) -> float:
    """Return the CPU time of a Python, in seconds."""
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=PROJECT, check=True, capture_output=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _start(broker: RabbitMQ, directory: Path) -> float:
    directory.mkdir()
    queue = str(uuid4())
    busmon = as_installed(
        Busmon(directory, {"bench": amqp_bus(broker, directory, queue, tls=True)})
    )
    broker.declare_queue(queue)
    broker.publish(from_fedora(MESSAGES))
    started = time.perf_counter()
    with busmon:
        wait_until(lambda: recorded(directory / "ledger.sqlite") > 0, what="the first message")
        seconds = time.perf_counter() - started
    broker.delete_queue(queue)
    return seconds


def _python(program: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)
    return time.perf_counter() - started


def _longest() -> str:
    """Return the packages whose own modules take longest, in milliseconds."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", IMPORTS],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    took: Counter[str] = Counter()
    for line in done.stderr.splitlines()[1:]:
        own, _, module = line.removeprefix("import time:").split("|")
        package = module.strip().partition(".")[0]
        took["the standard library" if package in sys.stdlib_module_names else package] += int(own)
    return ", ".join(f"{name} {spent / 1000:.0f} ms" for name, spent in took.most_common(TOLD))
