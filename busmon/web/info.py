"""Where the pages are, as a metric: alerts and dashboards link to them."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from busmon.metrics.families import gauge


class WebInfo:
    """A collector of `[web] public_url`. Without it there is no series, and nothing links."""

    def __init__(self, public_url: str | None) -> None:
        self._urls = [public_url.rstrip("/")] if public_url else []

    def collect(self) -> Iterator[Metric]:
        """Yield the URL, to which the path of a page is added."""
        yield gauge(
            "busmon_web_info",
            "Always 1; the label is [web] public_url, without a slash at its end.",
            ["public_url"],
            [((url,), 1) for url in self._urls],
        )
