"""busmon as users run it: `python -m busmon run`, read through its own HTTP endpoints."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.support.brokers import Server, accepts, free_port, wait_until
from tests.support.exposition import LABELS, Series, counter

PROJECT = Path(__file__).parents[2]


class Busmon(Server):
    """A busmon with a configuration, ledger and port that a restart keeps.

    Each time the counters are read, it also checks that none has gone down since the last
    time, whatever was done to the process meanwhile.
    """

    def __init__(
        self, directory: Path, buses: Mapping[str, Mapping[str, Any]], **ledger: str
    ) -> None:
        """Write the configuration; `ledger` has settings of [ledger], by default a path."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._seen: Counter[Series] = Counter()
        place = {} if "url" in ledger else {"path": str(directory / "ledger.sqlite")}
        sections = {
            "web": {"listen": f"127.0.0.1:{self.port}"},
            "ledger": place | ledger,
            **{f"buses.{name}": settings for name, settings in buses.items()},
        }
        self.configuration = directory / "busmon.toml"
        self.configuration.write_text("\n".join(_toml(sections)))
        super().__init__(
            [sys.executable, "-m", "busmon", "run", "-c", self.configuration],
            directory / "busmon.log",
            cwd=PROJECT,  # for rules that are the tests' own
            ready=lambda _: accepts(self.port) and ("url" not in ledger or self.has_ledger()),
        )

    def configure(self, text: str) -> None:
        """Add lines to the configuration, for the next start."""
        with self.configuration.open("a") as file:
            file.write(f"\n{text}\n")

    def put_into_environment(self, **variables: object) -> None:
        """Add these variables to the environment of busmon only."""
        words = (f"{name}={value}" for name, value in variables.items())
        self.argv = ["env", *words, *self.argv]

    def limit_files(self, size: int | str) -> None:
        """Limit the files of the process to so many bytes: for busmon, the disk fails."""
        limit = f"--fsize={size}:unlimited"
        subprocess.run(["prlimit", "--pid", str(self.pid), limit], check=True)

    def counts(self) -> Counter[Series]:
        """Return busmon_messages_total by bus, topic, outcome and reason, without the zeros."""
        return self._counters("busmon_messages_total", LABELS)

    def duplicates(self) -> Counter[Series]:
        """Return busmon_duplicates_total by bus, without the zeros."""
        return self._counters("busmon_duplicates_total", ("bus",))

    def ask(self, path: str, timeout: float = 30) -> tuple[int, list[str]]:
        """Return the status and the lines of an answer."""
        try:
            with urlopen(f"{self.url}{path}", timeout=timeout) as answer:
                return answer.status, answer.read().decode().splitlines()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode().splitlines()

    def has_ledger(self) -> bool:
        """Return whether it leads or follows. It listens before."""
        with suppress(OSError):
            return bool(self.ask("/metrics?name[]=busmon_ledger_rows")[1])
        return False

    def troubles(self) -> dict[str, str]:
        """Return the cause of each bus that /ready names; with status 200 it names none."""
        status, lines = self.ask("/ready")
        words = [line.split(": ") for line in lines]
        troubles = {bus: cause for bus, cause, *_ in words} if status == 503 else {}
        assert troubles or status == 200, (status, lines)
        return troubles

    def wait_until_ready(self) -> None:
        """Wait until every bus is subscribed."""
        try:
            wait_until(lambda: not self.troubles(), 60, "busmon to be ready")
        except AssertionError as error:
            error.add_note("\n".join(self.ask("/ready")[1]))
            raise

    def wait_until_counted(
        self, expected: Counter[Series], last: Iterable[Series], seconds: float = 60
    ) -> None:
        """Wait for as many messages as expected, and compare each series of their buses.

        Publish the messages of `last` after all others, so that what is counted twice shows, too.
        """
        buses = {bus for bus, *_ in expected}

        def counted() -> Counter[Series]:
            return Counter({key: n for key, n in self.counts().items() if key[0] in buses})

        def complete() -> bool:
            counts = counted()
            ended = all(counts[series] >= expected[series] for series in last)
            return ended and counts.total() >= expected.total()

        try:
            wait_until(complete, seconds, f"{expected.total()} messages")
        except AssertionError as error:
            error.add_note(differences(counted(), expected))
            error.add_note("\n".join(self.ask("/ready")[1]))
            raise
        assert counted() == expected, differences(counted(), expected)

    def _counters(self, name: str, labels: tuple[str, ...]) -> Counter[Series]:
        _, lines = self.ask(f"/metrics?name[]={name}")
        counted = counter("\n".join(lines) + "\n", name, labels)
        before = Counter(
            {series: n for series, n in self._seen.items() if len(series) == len(labels)}
        )
        assert before <= counted, f"{name} went down: {differences(counted, before)}"
        self._seen |= counted
        return counted


def differences(counts: Mapping[Series, int], expected: Mapping[Series, int]) -> str:
    """Return a line for each counter that is not as expected."""
    return "\n".join(
        f"{' '.join(series)}: {counts.get(series, 0)}, not {expected.get(series, 0)}"
        for series in sorted({*counts, *expected})
        if counts.get(series, 0) != expected.get(series, 0)
    )


def _toml(sections: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for name, settings in sections.items():
        yield f"[{name}]"
        # JSON's strings, numbers, truth values and lists are TOML's, too.
        yield from (f"{key} = {json.dumps(value, default=str)}" for key, value in settings.items())
