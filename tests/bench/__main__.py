"""Run benchmarks: `python -m tests.bench [NAME…]`; see --help."""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import (
    Options,
    amqp,
    growth,
    large,
    ledger,
    memory,
    mqtt,
    postgresql,
    replicas,
    scrape,
    shipped,
    start,
    stomp,
)
from tests.bench.machine import describe
from tests.bench.measure import Table

BENCHMARKS: dict[str, Callable[[Options], list[Table]]] = {
    "amqp": amqp.run,
    "mqtt": mqtt.run,
    "stomp": stomp.run,
    "memory": memory.run,
    "shipped": shipped.run,
    "start": start.run,
    "scrape": scrape.run,
    "ledger": ledger.run,
    "growth": growth.run,
    "large": large.run,
    "postgresql": postgresql.run,
    "replicas": replicas.run,
}
HELP = """\
The C client of the AMQP benchmark is compiled here: it needs cc, pkg-config and librabbitmq
(Debian's librabbitmq-dev, Fedora's librabbitmq-devel), and is left out where they are not.
Figures of a machine that does other work meanwhile are only good as ratios.
"""


def main() -> None:
    """Run the named benchmarks, and write results.json and results.md."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", epilog=HELP)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--scale", type=float, default=1.0, help="1: full size; 0.01 to try it")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--output", type=Path, default=Path(".cache/bench"), metavar="DIRECTORY")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(BENCHMARKS)}")
    say = partial(print, flush=True)
    output = arguments.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # in the image, all modules are compiled
    machine = describe(output)
    say("\n".join(f"{name}: {value}" for name, value in machine.items()))
    tables: list[Table] = []
    for name in arguments.names or BENCHMARKS:
        say(f"\n{name}")
        # Not in /tmp, which may be memory: the ledger must wait for a disk.
        with TemporaryDirectory(prefix=f"{name}-", dir=output) as directory:
            options = Options(
                directory=Path(directory), scale=arguments.scale, rounds=arguments.rounds, say=say
            )
            found = BENCHMARKS[name](options)
        say("\n" + "\n\n".join(table.markdown() for table in found))
        tables += found
        _write(output, machine, tables)  # at once: a later one may fail


def _write(output: Path, machine: dict[str, str], tables: Sequence[Table]) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    results = {"at": at, "machine": machine, "tables": [table.json() for table in tables]}
    (output / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    described = [", ".join(f"{name} {value}" for name, value in machine.items())]
    texts = [f"Measured {at}.", *described, *(table.markdown() for table in tables)]
    (output / "results.md").write_text("\n\n".join(texts) + "\n")


if __name__ == "__main__":
    main()
