"""What busmon and Packit's gateway export in the made-up year, as promtool reads it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tests.deploy.year.plant import (
    CLOSES_AFTER,
    WINDOW,
    Buses,
    Faults,
    Listener,
    Workers,
    until_next,
)
from tests.deploy.year.silences import Silence, silent_together
from tests.silence.simulation.traffic import MINUTES, Span

TIME = re.compile(r"\w+_(timestamp|start_time)_seconds")
FEDORA, CENTOS = 'bus="fedora"', 'bus="centos"'
COPR = f'{FEDORA},topic="copr"'
OBJECTIVE = 0.98
WITHIN = 5  # minutes
Values = np.ndarray


@dataclass(frozen=True)
class Series:
    """A series of the year, by the minute; `there` says when it is scraped."""

    name: str
    labels: str
    values: Values
    there: np.ndarray
    job: str = "busmon"

    def says_something(self, span: Span) -> bool:
        """Return whether it is not always 0, if its absence means the same."""
        begin, end = span
        shown = self.values[begin:end] * self.there[begin:end]
        return not self.name.startswith("busmon_topic_s") or bool(shown.any())

    def text(self, namespace: str, span: Span) -> dict[str, str]:
        """Return what promtool reads of a time, which begins at 0 there."""
        begin, end = span
        labels = f'job="{self.job}",instance="{self.job}",namespace="{namespace}"'
        values = self.values[begin:end].astype(float)
        if TIME.match(self.name):
            values = values - 60 * begin
        values[~self.there[begin:end]] = np.nan
        series = f"{self.name}{{{labels}{',' if self.labels else ''}{self.labels}}}"
        return {"series": series, "values": " ".join(_runs(values))}


def _runs(values: Values) -> Iterator[str]:
    """Yield runs of equal values. After what is no longer scraped follows a stale marker."""
    same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    edges = [0, *(np.flatnonzero(~same) + 1).tolist(), len(values)]
    for begin, end in pairwise(edges):
        value = values[begin]
        if np.isnan(value):
            yield "stale"
            if end - begin > 1:
                yield f"_x{end - begin - 1}"
        else:
            yield f"{value:.10g}x{end - begin - 1}"


def series_of_year(
    faults: Faults, buses: Buses, listener: Listener, workers: Workers, topics: Sequence[Silence]
) -> list[Series]:
    """Return all series that the alerts which wake somebody up read."""
    stopped = faults.during("Prometheus restarts")
    of = _Exported(buses.answers & ~stopped)
    of.add("up", "", buses.answers, ~stopped)
    of.add("busmon_build_info", 'version="1"', np.ones(MINUTES))
    started = np.diff(buses.answers.astype(np.int8), prepend=0) > 0
    starts = np.maximum.accumulate(np.where(started, np.arange(MINUTES), 0))
    of.add("process_start_time_seconds", "", 60 * starts)
    of.add("busmon_ledger_up", "", buses.writes)
    _buses(of, buses, topics, starts)
    _listener(of, buses, listener)
    _audit(of, buses, listener, workers)
    there = of.there & ~faults.during("Redis restarts")
    for queue, tasks in workers.queues.items():
        of.add("busmon_celery_queue_tasks", f'queue="{queue}"', tasks, there)
    _gateway(of, faults, workers, ~stopped)
    return of.series


class _Exported:
    """Collects series; `there` is when busmon is scraped."""

    def __init__(self, there: np.ndarray) -> None:
        self.there = there
        self.series: list[Series] = []

    def add(
        self,
        name: str,
        labels: str,
        values: Values,
        there: np.ndarray | None = None,
        job: str = "busmon",
    ) -> None:
        self.series.append(
            Series(name, labels, values, self.there if there is None else there, job)
        )


def _buses(of: _Exported, buses: Buses, topics: Sequence[Silence], starts: Values) -> None:
    for bus, connected in buses.connected.items():
        labels = f'bus="{bus}"'
        of.add("busmon_bus_connected", labels, connected)
        receives = connected & buses.answers
        connects = np.cumsum(np.diff(receives.astype(np.int8), prepend=0) > 0)
        of.add("busmon_bus_connects_total", labels, connects - connects[starts] + 1)
        of.add("busmon_blind_seconds_total", labels, np.cumsum(~receives) * 60)
        of.add("busmon_verdict", f'{labels},kind="busmon"', ~buses.writes)
        own = [topic for topic in topics if topic.topic.startswith("git.") == (bus == "centos")]
        together = silent_together(own)
        newest = 60 * np.max([topic.since for topic in own], axis=0)
        of.add("busmon_last_message_timestamp_seconds", f'{labels},topic="newest"', newest)
        # The rules leave out the topics that are silent.
        flow = np.array([topic.ratio <= 1 for topic in own])
        expected = np.sum([topic.expected for topic in own] * flow, axis=0)
        name = "busmon_topic_expected_since_last_messages"
        of.add(name, f'{labels},topic="newest"', expected, of.there & flow.any(axis=0))
        for topic in own:
            names = f'{labels},topic="{topic.topic}"'
            silent = topic.ratio > 1
            of.add("busmon_topic_silent", names, silent)
            of.add("busmon_topic_silence_ratio", names, topic.ratio)
            since = "busmon_topic_quiet_since_timestamp_seconds"
            of.add(since, names, 60 * topic.since, of.there & silent)
            there = of.there & together[topic.topic]
            of.add("busmon_topic_silent_together", names, np.ones(MINUTES), there)


def _listener(of: _Exported, buses: Buses, listener: Listener) -> None:
    handled = f'{COPR},outcome="handled",reason=""'
    of.add("busmon_messages_total", handled, np.cumsum(buses.seen))
    for observer, up in (("tap", listener.reports), ("ready", listener.monitored)):
        of.add("busmon_observer_up", f'{FEDORA},observer="{observer}"', up)
    of.add("busmon_listener_up", FEDORA, listener.monitored & listener.subscribed)
    received = np.cumsum(np.where(listener.receives, buses.handled, 0))
    of.add("busmon_listener_messages_total", f'{FEDORA},state="received"', received)
    of.add("busmon_listener_restarts_total", FEDORA, listener.restarts)
    reported = np.maximum.accumulate(np.where(listener.reports, np.arange(MINUTES), 0))
    of.add("busmon_tap_last_report_timestamp_seconds", FEDORA, 60 * reported)
    connected = of.there & buses.connected["fedora"]
    of.add("busmon_listener_queue_up", f'{FEDORA},queue="packit"', listener.subscribed, connected)


def _audit(of: _Exported, buses: Buses, listener: Listener, workers: Workers) -> None:
    minutes = np.arange(MINUTES)
    watched = buses.answers & buses.connected["fedora"]

    def by_window(values: Values) -> Values:
        sums: Values = values.reshape(-1, WINDOW).sum(axis=1)
        return sums

    closing = until_next(watched & (listener.reports | ~listener.runs))
    ends = np.arange(WINDOW, MINUTES + 1, WINDOW)
    closes = closing[np.minimum(ends + CLOSES_AFTER, MINUTES - 1)]
    complete = by_window(watched) == WINDOW

    def counted(values: Values) -> Values:
        """Return the sum of windows that are closed, by the minute."""
        added = np.bincount(closes, np.where(complete, values, 0), MINUTES)
        sums: Values = np.cumsum(added)
        return sums

    passed = np.cumsum(listener.passed)
    # Tasks are taken in their order; those of webhooks wait among them.
    share = passed / np.maximum(workers.arrived, 1)
    before = np.concatenate([[0], workers.arrived])[ends - WINDOW]
    taken = np.clip(workers.ended[closes] - before, 0, None)
    arrived = workers.arrived[ends - 1] - before
    of_window = by_window(listener.passed)
    waiting = of_window * (1 - np.minimum(taken, arrived) / np.maximum(arrived, 1))
    lost = by_window(workers.lost)
    failed = by_window(workers.failed)
    worker = np.minimum(np.round(waiting) + lost, of_window)
    handlers = np.minimum(failed, of_window - worker)
    reached = {
        "bus": by_window(buses.handled),
        "listener": of_window,
        "worker": of_window - worker,
        "handlers": of_window - worker - handlers,
    }
    missing = {"listener": by_window(listener.lost), "worker": worker, "handlers": handlers}
    for stage, values in reached.items():
        labels = f'{COPR},stage="{stage}"'
        of.add("busmon_audit_messages_total", labels, counted(values))
        if stage in missing:
            of.add("busmon_audit_missing_total", labels, counted(missing[stage]))
    still = np.maximum(workers.arrived[np.maximum(minutes - WINDOW, 0)] - workers.ended, 0) * share
    kept = {"listener": 0, "worker": np.round(still), "handlers": 0}
    for stage, of_stage in missing.items():
        gone = lost if stage == "worker" else of_stage
        open_gap = _until_accepted(counted(gone)) + kept[stage]
        of.add("busmon_open_gap_messages", f'{COPR},stage="{stage}"', open_gap)
    late = np.clip(workers.arrived - np.roll(workers.ended, -WITHIN), 0, None) * share
    late = np.minimum(np.round(late), listener.passed) + listener.lost
    known = WITHIN + WINDOW  # minutes until it is counted
    for within, number in (("false", late), ("true", buses.handled - late)):
        sums = np.roll(np.cumsum(np.where(watched, number, 0)), known)
        sums[:known] = 0
        of.add("busmon_slo_messages_total", f'{FEDORA},slo="all",within="{within}"', sums)
    of.add("busmon_slo_objective", f'{FEDORA},slo="all"', np.full(MINUTES, OBJECTIVE))
    task = 'task="task.steve_jobs.process_message"'
    of.add("busmon_celery_task_events_total", f'event="received",{task}', workers.ended)
    task = 'task="task.run_copr_build_end_handler"'
    failures = np.cumsum(workers.failed)
    of.add("busmon_celery_task_events_total", f'event="failed",{task}', failures)
    successes = workers.ended - np.cumsum(workers.lost) - failures
    of.add("busmon_celery_task_events_total", f'event="succeeded",{task}', successes)


def _until_accepted(sums: Values) -> Values:
    """Return what was counted since the last morning of a working day, when a person accepts it."""
    minute = np.arange(MINUTES)
    morning = (minute % 1440 == 540) & (minute // 1440 % 7 < 5)
    left: Values = sums - np.maximum.accumulate(np.where(morning, sums, 0))
    return left


def _gateway(of: _Exported, faults: Faults, workers: Workers, scraped: np.ndarray) -> None:
    job = "packit-pushgateway"
    up = ~faults.during("the push gateway restarts", "the push gateway is down")
    of.add("up", "", up, scraped, job)
    starts = np.maximum.accumulate(
        np.where(np.diff(up.astype(np.int8), prepend=0) > 0, np.arange(MINUTES), 0)
    )
    processed = workers.ended - np.cumsum(workers.lost)
    of.add("events_processed_total", "", processed - processed[starts], up & scraped, job)
    labels = 'result="accepted"'
    of.add("github_webhook_calls_total", labels, workers.webhooks, scraped, "packit-service")
