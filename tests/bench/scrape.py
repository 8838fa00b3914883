"""The scrape: the time of /metrics by its size, and how much it slows the counting."""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

from busmon.ledger.batch import Observation, Series
from busmon.ledger.ledger import Ledger
from tests.bench import Options
from tests.bench.brokers import amqp_bus, unlimited_rabbitmq
from tests.bench.consumers import check_counted, recorded
from tests.bench.measure import (
    CONSUMER_TIMEOUT,
    Cell,
    Run,
    Table,
    compared,
    drain,
    interleaved,
    meanwhile,
    quantile,
)
from tests.bench.stream import from_fedora
from tests.support.brokers import wait_until
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.busmon_process import Busmon

SERIES = (100, 1_000, 10_000)  # of busmon_messages_total
IDLE = 300  # scrapes
PAUSE = 0.02  # seconds between two of them
MESSAGES = 200_000  # full load while they are counted
INTERVAL = 1.0  # seconds between two scrapes when the cost is measured
COSTS = (100, 1_000)  # series for which the cost of a scrape is measured
# As Prometheus 3 asks, without the other formats.
OPENMETRICS = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6"
HEADERS = {"Accept": OPENMETRICS, "Accept-Encoding": "gzip"}


def run(options: Options) -> list[Table]:
    """Measure both."""
    with unlimited_rabbitmq(options.directory) as broker:
        bench = _Bench(broker, options)
        return [bench.durations(), *(bench.cost(options.size(series)) for series in COSTS)]


class _Bench:
    """One broker, and how busmon is watched beside it."""

    def __init__(self, broker: RabbitMQ, options: Options) -> None:
        self._broker = broker
        self._options = options
        self._messages = options.size(MESSAGES)

    def durations(self) -> Table:
        """Scrape busmon while it is idle, and while it drains a full queue."""
        rows: list[list[Cell]] = []
        for series in map(self._options.size, SERIES):
            self._options.say(f"  {series} series")
            idle: list[float] = []
            busy: list[float] = []
            self._drained(series, PAUSE, idle, busy)
            for name, took in ("idle", idle), ("full load", busy):
                parts = (1000 * quantile(sorted(took), part) for part in (0.5, 0.99, 1.0))
                rows.append([f"{series:,}", name, len(took), *parts])
        return Table(
            title="Scrape: time of /metrics",
            columns=["series", "", "scrapes", "median, ms", "99 %, ms", "longest, ms"],
            rows=rows,
            notes=[
                "Series of busmon_messages_total, each a topic of its own, which has some more"
                " of other metrics. OpenMetrics and gzip, as Prometheus asks for;"
                f" {PAUSE * 1000:.0f} ms from one to the next. Full load is AMQP without TLS.",
            ],
        )

    def cost(self, series: int) -> Table:
        """Drain a full queue with and without a scrape each second."""
        runs = interleaved(
            {
                "not scraped": partial(self._drained, series, None),
                "scraped each second": partial(self._drained, series, INTERVAL),
            },
            self._options.rounds,
            self._options.say,
        )
        note = "AMQP without TLS. Aim: less than 3 %."
        return compared(f"Scrape: its cost with {series:,} series", runs, "not scraped", [note])

    def _drained(
        self,
        topics: int,
        interval: float | None,
        idle: list[float] | None = None,
        busy: list[float] | None = None,
    ) -> Run:
        """Let busmon drain a full queue, scraped at this interval; add how long each took."""
        queue = str(uuid4())
        directory = self._options.directory / queue
        directory.mkdir()
        bus = amqp_bus(self._broker, directory, queue, tls=False)
        bus["rules"] = "all"  # which knows no topics, so that only those of the ledger exist
        _make_topics(directory / "ledger.sqlite", topics)
        with Busmon(directory, {"bench": bus}) as busmon, ExitStack() as stack:
            busmon.wait_until_ready()
            if idle is not None and interval is not None:
                wanted = self._options.size(IDLE)
                with meanwhile(partial(scrape, busmon, interval, idle)) as scraping:
                    wait_until(
                        lambda: len(idle) >= wanted or scraping.done(), CONSUMER_TIMEOUT, "scrapes"
                    )
            ledger = directory / "ledger.sqlite"
            expected = recorded(ledger) + self._messages

            def fill() -> None:
                self._broker.publish(from_fedora(self._messages))
                if interval is not None:
                    took = [] if busy is None else busy
                    stack.enter_context(meanwhile(partial(scrape, busmon, interval, took)))

            run = drain([busmon], fill, self._messages, lambda: recorded(ledger) >= expected)
            stack.close()
            check_counted([busmon], expected)
        self._broker.delete_queue(queue)
        return run


def scrape(busmon: Busmon, interval: float, took: list[float], stopping: threading.Event) -> None:
    """Scrape at this interval until `stopping`, and add the seconds that each scrape took."""
    request = Request(f"{busmon.url}/metrics", headers=HEADERS)
    while True:  # at least once, even if all messages are counted within the interval
        started = time.perf_counter()
        with urlopen(request, timeout=60) as answer:
            answer.read()
        took.append(time.perf_counter() - started)
        if stopping.wait(interval):
            return


def _make_topics(ledger: Path, number: int) -> None:
    """Make a ledger of so many series, those of the stream among them."""
    ours = dict.fromkeys(publication.topic for publication in from_fedora(1000))
    topics: Sequence[str] = [*ours, *(f"org.example.prod.{n}" for n in range(number))]
    now = time.time()
    with_topics = Ledger(str(ledger))
    with_topics.record(
        [
            Observation(Series("bench", topic, "handled", ""), topic, now, now)
            for topic in topics[:number]
        ]
    )
    with_topics.close()
