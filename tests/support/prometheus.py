"""A real Prometheus."""

import json
import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.support.brokers import Server, free_port, wait_until


def promtool_test(file: Path, tests: Mapping[str, Any]) -> str:
    """Write tests of rules to a file, and return what promtool says, also of what differs.

    Who expects nothing finds out so what there is.
    """
    file.write_text(json.dumps(tests))  # which is YAML, too
    done = subprocess.run(
        ["promtool", "test", "rules", file],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"GOGC": "300"},  # a third less time for more memory
    )
    return done.stdout + done.stderr


def promtool_targets(config: Path, job: str) -> list[dict[str, Any]]:
    """Return what promtool says of each target of a job."""
    # It looks for as long as it may, and on a busy machine may see nothing by then.
    command = ["promtool", "check", "service-discovery", "--timeout=1s", str(config), job]
    return wait_until(
        lambda: json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout),
        what="promtool to see the targets",
    )


class Prometheus(Server):
    """A Prometheus with a configuration of its own."""

    def __init__(self, directory: Path, configuration: Mapping[str, Any], *options: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        file = directory / "prometheus.json"  # which is YAML, too
        file.write_text(json.dumps(configuration))
        super().__init__(
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{port}",
                *options,
            ],
            directory / "prometheus.log",
            ready=lambda server: server.logged("Server is ready to receive web requests"),
        )
        self.started = time.time()

    def ask(self, path: str, **parameters: object) -> Any:
        """Return the data of an answer; fail with the error that Prometheus gives."""
        try:
            url = f"{self.url}/api/v1/{path}?{urlencode(parameters)}"
            with urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {json.load(error)['error']}") from error

    def now(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of an expression with their current values."""
        return numbers(
            {**series, "values": [series["value"]]}
            for series in self.ask("query", query=expr)["result"]
        )

    def value(self, expr: str) -> float | None:
        """Return the first value of an expression at this moment."""
        found = self.now(expr)
        return float(found[0]["values"][0][1]) if found else None

    def since_start(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of an expression with their values of each second since the start."""
        span = {"start": self.started, "end": time.time(), "step": 1}
        return numbers(self.ask("query_range", query=expr, **span)["result"])


def numbers(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the series with their values, except NaN, and only those that have one."""
    series = [
        {**one, "values": [(at, float(value)) for at, value in one["values"] if value != "NaN"]}
        for one in found
    ]
    return [one for one in series if one["values"]]
