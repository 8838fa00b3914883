"""A real Prometheus that scrapes a real busmon, and exporters: real ones, or samples."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deploy.exporter_server import SAMPLES, samples
from tests.deploy.observed_busmon import observed_busmon
from tests.deploy.programs import programs
from tests.support.brokers.redis import Redis
from tests.support.prometheus import Prometheus
from tests.support.pushgateway import Pushgateway

NAMESPACE = "packit--prod"
# Variables that Grafana itself fills in. One scrape takes place each second.
SPANS = {"__rate_interval": "4s", "__range": "60s"}
# The variables of the dashboards as they are at first, when nobody has chosen anything.
DEFAULTS = {
    "namespace": NAMESPACE,
    "job": "(.+/)?busmon",
    **dict.fromkeys(("instance", "bus", "topic", "stage", "pod", "node"), ".*"),
}

Values = Mapping[str, str]


def legend(text: str, series: Mapping[str, Any]) -> str:
    """Return the name of a series in the legend."""
    return re.sub(r"{{(\w+)}}", lambda found: series["metric"].get(found[1], ""), text)


def filled(text: str, values: Values) -> str:
    """Replace variables by their values; leave those without a value."""
    known = {**SPANS, **values}
    return re.sub(r"\$(\w+)", lambda found: known.get(found[1], found[0]), text)


@contextmanager
def watched(directory: Path, seconds: float = 30) -> Iterator[Prometheus]:
    """Run busmon, the exporters and Prometheus, with so many seconds of traffic."""
    redis, gateway = Redis(directory), Pushgateway(directory)
    with (
        redis.server,
        gateway,
        programs(directory, redis) as ports,
        samples() as sampled,
        observed_busmon(
            directory, redis, gateway, f"http://127.0.0.1:{sampled}/ready", seconds
        ) as busmon,
    ):
        scraped = {**ports, "busmon": busmon.port, "packit-pushgateway": gateway.port}
        jobs = [job(name, port, "/metrics") for name, port in scraped.items()]
        jobs += [job(name, sampled, f"/{name}") for name in SAMPLES]
        every = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        with Prometheus(directory, {"global": every, "scrape_configs": jobs}) as prometheus:
            yield prometheus


def job(name: str, port: int, path: str) -> dict[str, Any]:
    labels = {"namespace": NAMESPACE}
    return {
        "job_name": name,
        "metrics_path": path,
        "honor_labels": True,
        "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}],
    }
