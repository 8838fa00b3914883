"""A real Pushgateway."""

import shutil
from pathlib import Path

from tests.support.brokers import Server, accepts, free_port


class Pushgateway(Server):
    """Prometheus's own: a push replaces what the same job pushed before.

    Packit's prom-aggregation-gateway adds the pushed counters to those that it has instead.
    """

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        names = ("prometheus-pushgateway", "pushgateway")  # Debian's and its own
        program = next(name for name in names if shutil.which(name))
        super().__init__(
            [program, f"--web.listen-address=127.0.0.1:{self.port}"],
            directory / "pushgateway.log",
            ready=lambda _: accepts(self.port),
        )
