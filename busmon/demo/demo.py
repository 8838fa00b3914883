"""`busmon demo`: made-up traffic of both buses through the real code, without a broker."""

import tempfile
import threading
import time
from collections.abc import Callable

from busmon.config.model import Config
from busmon.demo import history
from busmon.demo.bodies import CENTOS_SHARES, FEDORA_SHARES
from busmon.demo.traffic import TrafficSource
from busmon.ledger.ledger import Ledger
from busmon.rules import rule_set
from busmon.service import build_service
from busmon.settings.models import Web

FEDORA_SHARE = 0.9  # of all messages, roughly as on the real buses


def run(
    listen: str, rate: float, stopping: threading.Event, announce: Callable[[str], None]
) -> None:
    """Serve until `stopping`; `rate` is in messages a second. Raises OSError."""
    # No bus is configured, since no broker is there to configure.
    config = Config.model_construct(web=Web(listen=listen), buses={})
    rule_sets = {"fedora": "packit", "centos": "centos"}
    with tempfile.TemporaryDirectory(prefix="busmon-demo-") as directory:
        ledger, now = Ledger(f"{directory}/ledger.sqlite"), time.time()
        history.write(ledger, "fedora", FEDORA_SHARES, rate * FEDORA_SHARE, now)
        history.write(ledger, "centos", CENTOS_SHARES, rate * (1 - FEDORA_SHARE), now)
        history.write_incident(ledger, "fedora", now)
        service = build_service(
            config,
            ledger,
            {bus: rule_set(rules, config.rules) for bus, rules in rule_sets.items()},
            [
                TrafficSource("fedora", "fedora", rate * FEDORA_SHARE),
                TrafficSource("centos", "centos", rate * (1 - FEDORA_SHARE)),
            ],
        )
        announce(service.url)
        service.run(stopping)
