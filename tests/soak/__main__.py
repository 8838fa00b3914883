"""Run busmon for an hour while everything fails; each message is counted exactly once.

First it is killed repeatedly in the middle of the streams of all buses. Then follow rounds
of a minute with random faults. After each round the publishers pause, and every series must
be what was published. In the end nothing is published until busmon knows all; then its audit must
agree with what the listener and the workers did, and with what only the archive has. The first
difference ends the soak with status 1, and the files of all processes are kept.
"""

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.soak.faults.fault import Fault
from tests.soak.faults.table import faults
from tests.soak.stage import Stage, staged
from tests.support.brokers import wait_until
from tests.support.streams import by_bus

KEPT = Path(".cache/soak")
ROUND = 45.0  # seconds of faults before everything must be counted
TOGETHER = 1 / 3  # the part of the faults that have another one beside them
AT_ONCE = 10  # kills before everything must be counted
USUAL_BUSES = {"fedora", "centos", "durable", "virtual"}  # on the other one little comes
IN_STREAM, ANY = "killed while it counted on every bus", "killed in a row"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak ARGS=…", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="of random faults")
    parser.add_argument(
        "--kills", type=int, default=200, help="in mid-stream of all buses, before them"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    places = "file", "postgresql"
    parser.add_argument(
        "--ledger", choices=places, default="file", help="postgresql: of three busmons"
    )
    names = dict.fromkeys(one.name for where in (False, True) for one in faults(in_database=where))
    parser.add_argument("--fault", action="append", choices=names, help="only those so given")
    arguments = parser.parse_args()
    started = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    directory = KEPT.absolute() / started
    directory.mkdir(parents=True)
    in_database = arguments.ledger == "postgresql"
    given = arguments.fault or names
    table = [fault for fault in faults(in_database=in_database) if fault.name in given]
    summary: dict[str, Any] = {"seed": arguments.seed, "checks": []}
    print(f"seed {arguments.seed}, everything is in {directory}", flush=True)
    rng = random.Random(arguments.seed)
    try:
        with staged(directory, rng, in_database=in_database) as stage:
            try:
                for check in soak(stage, rng, arguments.kills, arguments.minutes, table):
                    summary["checks"].append(check)
                    print(line(check), flush=True)
                summary["settled"] = stage.settle()
                print(f"settled: {named(summary['settled'])}", flush=True)
            except Exception as error:
                note(stage, f"failed: {error!r}")
                keep_evidence(stage)
                raise
        print(total(summary["checks"]), flush=True)
        shutil.rmtree(directory)
    finally:
        file = KEPT / f"{started}.json"
        file.write_text(json.dumps(summary, indent=1))
        print(f"figures in {file}", flush=True)
    return 0


def soak(
    stage: Stage, rng: random.Random, kills: int, minutes: float, table: list[Fault]
) -> Iterator[dict[str, Any]]:
    """Yield the figures of each check, with the faults so far by name."""
    done: Counter[str] = Counter()
    begun = time.monotonic()

    def checked() -> dict[str, Any]:
        return {
            "minute": round((time.monotonic() - begun) / 60, 1),
            **stage.check(),
            "faults": dict(done),
        }

    while done[IN_STREAM] < kills:
        for _ in range(min(AT_ONCE, kills - done[IN_STREAM])):
            refresh(stage)
            killed_at_random(stage, rng, done)
        yield checked()
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        refresh(stage)
        until = time.monotonic() + ROUND
        while time.monotonic() < until:
            time.sleep(rng.uniform(0, 3))
            suffer(stage, rng, chosen(rng, table), done)
        yield checked()


def refresh(stage: Stage) -> None:
    for publisher in stage.publishers.values():
        publisher.refresh()


def killed_at_random(stage: Stage, rng: random.Random, done: Counter[str]) -> None:
    """Kill a busmon while it counts on every bus or, each fourth time, at any moment."""
    stage.busmons.wait_until_ready()
    counted = Counter[str]()
    victim = stage.busmons.any(rng)
    before = by_bus(stage.busmons.counts())

    def counting() -> bool:
        counted.update(by_bus(stage.busmons.counts()) - before)
        return counted.keys() >= USUAL_BUSES

    if done[ANY] % 4:
        wait_until(counting, 60, "every bus to be counted")
    time.sleep(rng.uniform(0, 0.5))
    done[IN_STREAM] += counting()
    victim.kill()
    done[ANY] += 1
    victim.start()


def chosen(rng: random.Random, table: list[Fault]) -> list[Fault]:
    first, second = rng.choice(table), rng.choice(table)
    alone = first.alone or second.alone or first.place == second.place
    return [first] if alone or rng.random() > TOGETHER else [first, second]


def suffer(stage: Stage, rng: random.Random, together: list[Fault], done: Counter[str]) -> None:
    with ExitStack() as lasting:
        for fault in together:
            done[fault.name] += 1
            note(stage, f"{fault.name} begins")
            said = lasting.enter_context(fault.do(stage, rng))
            if len(together) == 1:
                stage.wait_until_said(said)
        time.sleep(max(rng.uniform(*fault.seconds) for fault in together))
    note(stage, f"healed: {', '.join(fault.name for fault in together)}")


def note(stage: Stage, text: str) -> None:
    with (stage.directory / "faults.log").open("a") as log:
        log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f} UTC {text}\n")  # as busmon's


def line(check: dict[str, Any]) -> str:
    counters = ("messages", "duplicates", "pages", "faults")
    figures = check | {key: named(check[key]) for key in counters}
    return " | ".join(f"{key} {value}" for key, value in figures.items())


def total(checks: list[dict[str, Any]]) -> str:
    """Return the summary of a soak that succeeded; `messages` and so on are sums so far."""
    last, rss, fds = checks[-1], *([c[key] for c in checks] for key in ("rss_mib", "fds"))
    sums = (f"{sum(last[key].values()):,} {key}" for key in ("messages", "duplicates"))
    return (
        f"exact in each of {len(checks)} checks: {', '.join(sums)},"
        f" RSS {min(rss)} to {max(rss)} MiB, {min(fds)} to {max(fds)} file descriptors"
    )


def named(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) or "none"


def keep_evidence(stage: Stage) -> None:
    """Write what should be counted, and what is, now and after a restart: late or lost?"""
    expected = {
        " ".join(series): number
        for publisher in stage.publishers.values()
        for series, number in publisher.stream.expected.items()
    }
    (stage.directory / "expected.json").write_text(json.dumps(expected, indent=1))
    write_answers(stage, "at-failure")
    for busmon in stage.busmons.all:
        busmon.restart()
    time.sleep(30)
    write_answers(stage, "after-restart")


def write_answers(stage: Stage, when: str) -> None:
    for number, busmon in enumerate(stage.busmons.all):
        for name in ("metrics", "ready"):
            try:
                said = "\n".join(busmon.ask(f"/{name}")[1])
            except OSError as error:
                said = repr(error)
            (stage.directory / f"{name}-{number}-{when}.txt").write_text(said)


if __name__ == "__main__":
    sys.exit(main())
