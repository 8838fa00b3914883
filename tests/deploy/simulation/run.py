"""Runs the story, and records what is scraped."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.deploy.programs import programs
from tests.deploy.simulation import story
from tests.deploy.simulation.packit import REPORT_SECONDS, TOKEN, Listener, Webhooks, Workers
from tests.deploy.simulation.recording import INTERVAL, RecordedPrometheus, Recording
from tests.deploy.simulation.samples import sample
from tests.support.aggregation_gateway import aggregation_gateway
from tests.support.brokers import free_port, wait_until
from tests.support.brokers.redis import Redis
from tests.support.fast_clock import STEP, FastBusmon

NAMESPACE = "packit--prod"
PAGES = "https://workers.packit.dev/busmon"  # where nobody goes
GRAFANA = "https://grafana.example.com"
BEGIN, END = story.DAY + 13.9 * story.HOUR, story.DAY + 14.75 * story.HOUR
LAST_SECONDS = 300.0  # in which the programs beside Packit are scraped, too
JOBS = {
    "flower": "packit-services",
    "pushgateway": "packit-services",
    "packit-service": "packit-services",
    "kube-state-metrics": "packit-exporters",
    "postgres": "packit-exporters",
    "redis": "packit-exporters",
    "node": "node-exporter",
}  # as in prometheus-kubernetes.yml
RECEIVED = re.compile(
    r'^busmon_celery_task_events_total{event="received",task="task.st.* (.*)', re.M
)
FLOWER = re.compile(r'^flower_events_total{.*type="task-.* (.*)$', re.M)
ONLINE = "flower_worker_online{"
STARTED = re.compile("^(process_start_time_seconds ).*", re.M)


@contextmanager
def simulated(
    directory: Path, begin: float = BEGIN, end: float = END, *, only_outage: bool = False
) -> Iterator[RecordedPrometheus]:
    """Let the story take place, then serve what was scraped of it.

    `only_outage`: without a silent topic, and without a bus that is down all the time.
    """
    recording = Recording(directory / "openmetrics.txt")
    with ExitStack() as stack:
        scene = _Scene(stack, directory, begin, end, only_outage=only_outage)
        scene.play(recording)
    recording.close()
    with RecordedPrometheus(directory, recording.path, begin, end) as prometheus:
        yield prometheus


class _Scene:
    """All that runs beside busmon, and busmon itself."""

    def __init__(
        self, stack: ExitStack, directory: Path, begin: float, end: float, *, only_outage: bool
    ) -> None:
        self._begin, self._end, self._only_outage = begin, end, only_outage
        redis = Redis(directory)
        stack.enter_context(redis.server)
        self._ports = stack.enter_context(programs(directory, redis))
        self._flower = f"http://127.0.0.1:{self._ports['flower']}/metrics"
        self._gateway = stack.enter_context(aggregation_gateway())
        (fedora, centos), self._made = story.write_traffic(directory, begin, end + 60)
        story.write_history(directory / "ledger.sqlite", begin, silent=not only_outage)
        self._busmon = _busmon(directory, fedora, centos if only_outage else None)
        self._listener = Listener(self._busmon.url)
        _configure(self._busmon, redis, stack.enter_context(self._listener.monitor()))
        self._busmon.under_clock(begin)
        stack.enter_context(self._busmon)
        self._workers = Workers(redis.url, self._gateway)
        stack.callback(self._workers.close)
        wait_until(self._flower_listens, what="Flower to see the workers")
        self._webhooks = Webhooks()

    def play(self, recording: Recording) -> None:
        """Let time pass, and scrape."""
        messages = enumerate(self._made)
        hooks, tasks = story.webhooks(self._begin, self._end), story.uuids(4)
        number, message = next(messages)
        hook, now, scrapes = next(hooks), self._begin, 0
        while (now := now + STEP) <= self._end:
            received = self._workers.received
            self._busmon.step()
            self._workers.live()
            while message.at <= now - 1:
                self._receive(number, message, next(tasks))
                number, message = next(messages)
            while hook <= now:
                self._webhooks.calls.labels("accepted").inc()
                self._workers.work(next(tasks), story.Fate())
                hook = next(hooks, self._end + 1)
            if (now - self._begin) % REPORT_SECONDS == 0:
                self._listener.report()
            if (now - self._begin) % INTERVAL == 0:
                scrapes += 1
                self._scrape(recording, now, received, scrapes)

    def _flower_listens(self) -> bool:
        """Return whether Flower gets the events by now. It serves before."""
        self._workers.live()
        return ONLINE in read(self._flower)

    def _receive(self, number: int, message: story.Made, task: str) -> None:
        if (fate := story.fate(number, message.at, only_outage=self._only_outage)) is None:
            return
        self._listener.receive(message, task)
        if message.outcome == "handled" and fate.done:
            self._workers.work(task, fate)

    def _scrape(self, recording: Recording, now: float, received: int, scrapes: int) -> None:
        own = f"{self._busmon.url}/metrics"
        wait_until(lambda: _sum(self._flower, FLOWER) >= self._workers.events, what="Flower")
        # busmon writes events a second after the last ones, which is in the next step.
        events = f"{own}?name[]=busmon_celery_task_events_total"
        wait_until(lambda: _sum(events, RECEIVED) >= received, what="Celery's events")
        # Linux says when the process started, by its own clock.
        text = STARTED.sub(rf"\g<1>{self._begin}", read(own))
        text += sample("busmon-queue", scrapes)
        recording.add(text, now, job="busmon", instance="busmon", namespace=NAMESPACE)
        others = {"flower": self._flower, "pushgateway": self._gateway}
        texts = {name: read(url) for name, url in others.items()}
        texts["packit-service"] = self._webhooks.metrics()
        if now > self._end - LAST_SECONDS:
            for name in ("node", "postgres", "redis"):
                texts[name] = read(f"http://127.0.0.1:{self._ports[name]}/metrics")
            for name in ("cadvisor", "kube-state-metrics", "kubelet"):
                texts[name] = sample(name, scrapes)
        for name, text in texts.items():
            recording.add(text, now, job=JOBS.get(name, name), instance=name, namespace=NAMESPACE)


def _busmon(directory: Path, fedora: Path, centos: Path | None) -> FastBusmon:
    replay: dict[str, Any] = {"type": "replay", "rules": "packit", "files": [str(fedora)]}
    down = {
        "type": "mqtt",
        "rules": "centos",
        "url": f"mqtt://127.0.0.1:{free_port()}",  # where nothing listens
        "client_id": "busmon",
        "topics": ["git.centos.org/#"],
    }
    up = replay | {"rules": "centos", "files": [str(centos)], "rate": story.CENTOS_RATE}
    buses = {"fedora": replay | {"rate": story.RATE}, "centos": up if centos else down}
    busmon = FastBusmon(directory, buses)
    text = busmon.configuration.read_text()
    pages = f'[web]\npublic_url = "{PAGES}/"\ngrafana_url = "{GRAFANA}"'
    busmon.configuration.write_text(text.replace("[web]", pages))
    return busmon


def _configure(busmon: FastBusmon, redis: Redis, monitor: str) -> None:
    """Watch the listener and its workers, with the intervals as they are shipped."""
    busmon.configure(
        # Nothing answers there either, but there is a comparison on record.
        f'[archive]\nbus = "fedora"\nurl = "http://127.0.0.1:{free_port()}"\ncontact = "me@x"\n'
        '[silence]\nretired = { "*.pagure.*" = 2026-01-01 }\n'
        f'[audit.reports]\nbus = "fedora"\ntoken = "{TOKEN}"\n'
        f'[audit.ready]\nbus = "fedora"\nurl = "{monitor}"\n'
        f'[audit.celery]\nbus = "fedora"\nbroker = "{redis.url}"\n'
        '[slo.all]\nbus = "fedora"\ntopics = ["*"]\nstage = "worker"\nwithin = "5m"\n'
        "objective = 0.98"
    )


def read(url: str) -> str:
    """Return what is served there."""
    with urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def _sum(url: str, pattern: re.Pattern[str]) -> float:
    return sum(float(value) for value in pattern.findall(read(url)))
