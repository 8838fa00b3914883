"""Where the pages and Grafana are, as a metric: alerts and dashboards link to them."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from busmon.metrics.families import gauge
from busmon.settings.models import Web


class WebInfo:
    """A collector of the URLs in `[web]`. Without any there is no series, and nothing links."""

    def __init__(self, settings: Web) -> None:
        self._urls = [
            (url or "").rstrip("/") for url in (settings.public_url, settings.grafana_url)
        ]

    def collect(self) -> Iterator[Metric]:
        """Yield the URLs, to which the path of a page or dashboard is added."""
        yield gauge(
            "busmon_web_info",
            "Always 1; the labels are URLs of [web], without a slash at their end.",
            ["public_url", "grafana_url"],
            [(self._urls, 1)] if any(self._urls) else [],
        )
