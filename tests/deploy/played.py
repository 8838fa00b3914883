"""Busmons that are played: what each exports follows from the faults that it is given.

A small model steps through the time: messages come, the listener passes them on, workers do
tasks, the audit closes windows. A minute is as short as in haste.py.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.deploy.haste import FACTOR
from tests.deploy.scene import BUSES, COPR, QUEUES, VOLUME, Fault

STEP = 0.25  # minutes
BURST = 1.75  # minutes, other than scrapes
WINDOW = 5  # minutes
CLOSES_AFTER = 3  # minutes after its end
STAGES = ("listener", "worker", "handlers")
Series = tuple[str, Mapping[str, str], float]


@dataclass
class Window:
    """What the audit knows of the messages of one window."""

    seen: float = 0
    passed: float = 0
    finished: float = 0
    watched: bool = True


@dataclass
class Busmon:
    """A busmon in a namespace of its own, beside the listener of the bus fedora."""

    namespace: str
    faults: tuple[Fault, ...]
    minute: float = 0
    began: float = field(default_factory=time.time)
    counts: defaultdict[tuple[str, ...], float] = field(default_factory=lambda: defaultdict(float))
    tasks: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    gaps: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    last: dict[tuple[str, str], float] = field(default_factory=dict)
    quiet: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    windows: list[Window] = field(default_factory=lambda: [Window()])
    closed: int = 0

    def wrong(self, kind: str, of: str = "") -> bool:
        """Return whether there is such a fault now."""
        return any(
            fault.kind == kind and fault.of in ("", of) and fault.begin <= self.minute < fault.end
            for fault in self.faults
        )

    def at(self, minute: float) -> float:
        """Return the Unix time of a minute."""
        return self.began + minute * 60 / FACTOR

    def advance(self) -> None:
        """Step to the present."""
        while self.at(self.minute + STEP) <= time.time():
            self.minute += STEP
            self._step()

    @property
    def scraped(self) -> bool:
        """Return whether Prometheus still knows of the pod."""
        return not self.wrong("pod gone")

    @property
    def answers(self) -> bool:
        return self.scraped and not self.crashed

    @property
    def crashed(self) -> bool:
        """Return whether it waits to be restarted, longer each time; it runs for a minute."""
        return any(
            fault.kind == "crash loop"
            and fault.begin <= self.minute < fault.end
            and (self.minute - fault.begin) % 6 < 5
            for fault in self.faults
        )

    @property
    def started(self) -> float:
        """Return the minute of the last start."""
        starts = [0.0]
        for fault in self.faults:
            if fault.kind == "pod gone":
                starts.append(fault.end)
            if fault.kind == "crash loop":
                starts += [
                    fault.begin + 5 + 6 * n for n in range(int((fault.end - fault.begin) / 6))
                ]
                starts.append(fault.end)
        return max(start for start in starts if start <= self.minute)

    def connected(self, bus: str) -> bool:
        return not self.wrong("cut", bus) and not self.wrong("broker down", bus)

    @property
    def listening(self) -> bool:
        """Return whether the listener receives and passes on."""
        return not self.wrong("listener down") and not self.wrong("broker down", "fedora")

    def _step(self) -> None:
        for (bus, topic), volume in VOLUME.items():
            if self.answers and self.connected(bus):
                self.quiet[bus, topic] += STEP
            silent = self.wrong("silent", bus) or self.wrong("silent", topic)
            if silent or self.wrong("broker down", bus):
                continue
            if self.minute % BURST == 0:  # so that queues become longer and shorter
                self._message(bus, topic, volume * BURST)
        for bus in BUSES:
            if not (self.connected(bus) and self.answers):
                self.counts["blind", bus] += STEP * 60 / FACTOR
        self._work()
        if self.minute >= WINDOW * len(self.windows):
            self.windows.append(Window())
        while self.closed < len(self.windows) - 1 and self._closes(self.closed):
            self._close(self.windows[self.closed])
            self.closed += 1

    def _message(self, bus: str, topic: str, number: float) -> None:
        if self.answers and self.connected(bus):
            self.counts["messages", bus, topic] += number
            self.last[bus, topic] = self.minute
            self.quiet[bus, topic] = 0
        if bus != "fedora":
            return
        window = self.windows[-1]
        window.seen += number
        if self.listening:
            passed = number / 2 if self.wrong("listener drops") else number
            window.passed += passed
            self.counts["passed",] += passed
            for queue, share in QUEUES.items():
                self.tasks[queue] += passed * share / sum(QUEUES.values())
        if not (self.listening and self.answers and self.connected(bus)):
            window.watched = False

    def _work(self) -> None:
        """Let the workers do what waits, at most twice as much as usually comes."""
        for queue, usual in QUEUES.items():
            if self.wrong("workers down") or self.wrong("queue without workers", queue):
                continue
            speed = 0.5 if self.wrong("slow workers") else 2
            done = min(self.tasks[queue], usual * speed * STEP)
            self.tasks[queue] -= done
            self.counts["done",] += done
            if not self.wrong("events not processed"):
                self.counts["processed",] += done
            self._finish(done)

    def _finish(self, tasks: float) -> None:
        """Count tasks as finished, those of the oldest windows first."""
        for number, window in enumerate(self.windows):
            some = min(tasks, window.passed - window.finished)
            window.finished += some
            tasks -= some
            if number < self.closed:  # a missing message is recovered
                self.gaps["worker"] = max(self.gaps["worker"] - some, 0)

    def _closes(self, number: int) -> bool:
        """Return whether a window is closed: late enough, and the tap reports again."""
        late = self.minute >= WINDOW * (number + 1) + CLOSES_AFTER
        return late and self.answers and self.listening

    def _close(self, window: Window) -> None:
        if not window.watched:
            self.counts["no data", "listener"] += 1
        lost = {"listener": window.seen - window.passed, "worker": window.passed - window.finished}
        reached = {"bus": window.seen, "listener": window.passed, "worker": window.finished}
        for stage, number in (reached | {"handlers": window.finished}).items():
            self.counts["audited", stage] += number
        for stage, number in lost.items():
            self.counts["missing", stage] += number
            self.gaps[stage] += number
        self.counts["slo", "false"] += window.seen - window.finished
        self.counts["slo", "true"] += window.finished
        if self.wrong("accepted"):
            self.gaps.clear()

    def series(self) -> Iterator[Series]:
        """Yield what it exports now: each name, its labels and its value."""
        fedora = {"bus": "fedora"}
        yield "busmon_build_info", {"version": "1", "python": "3"}, 1
        yield "busmon_web_info", {"public_url": f"http://{self.namespace}", "grafana_url": ""}, 1
        yield "process_start_time_seconds", {}, self.at(self.started)
        yield "busmon_ledger_up", {}, 1 - self.wrong("disk full")
        yield "busmon_ledger_size_bytes", {}, 95 if self.wrong("disk full") else 10
        yield "busmon_ledger_size_limit_bytes", {}, 100
        yield "busmon_audit_last_closed_timestamp_seconds", {}, self.at(WINDOW * self.closed)
        yield "busmon_audit_window_seconds", {}, WINDOW * 60 / FACTOR
        for bus in BUSES:
            yield from self._of_bus(bus)
        yield from self._of_topics()
        for observer in ("tap", "ready", "celery", "queue"):
            yield "busmon_observer_up", fedora | {"observer": observer}, self._sees(observer)
        yield from self._of_listener()
        for stage in ("bus", *STAGES):
            topic = fedora | {"topic": COPR, "stage": stage}
            yield "busmon_audit_messages_total", topic, self.counts["audited", stage]
            yield "busmon_audit_missing_total", topic, self.counts["missing", stage]
            yield "busmon_open_gap_messages", topic, round(self.gaps[stage])
            windows = self.counts["no data", stage]
            yield "busmon_audit_no_data_windows_total", fedora | {"stage": stage}, windows
        for within in ("true", "false", "unknown"):
            labels = fedora | {"slo": "copr", "within": within}
            yield "busmon_slo_messages_total", labels, self.counts["slo", within]
        yield "busmon_slo_objective", fedora | {"slo": "copr"}, 0.92
        for queue in QUEUES:
            yield "busmon_celery_queue_tasks", {"queue": queue}, round(self.tasks[queue])
        for event in ("received", "started", "succeeded", "failed"):
            done = 0 if event == "failed" else self.counts["done",]
            labels = {"event": event, "task": "task.steve_jobs.process_message"}
            yield "busmon_celery_task_events_total", labels, done

    def _sees(self, observer: str) -> bool:
        return not (
            (observer == "tap" and (self.wrong("listener down") or self.wrong("tap cut")))
            or (observer == "ready" and not self._monitored)
        )

    @property
    def _monitored(self) -> bool:
        return not (self.wrong("listener down") or self.wrong("monitor cut"))

    def _of_bus(self, bus: str) -> Iterator[Series]:
        labels = {"bus": bus}
        connected = self.connected(bus) and not self.wrong("disk full")
        yield "busmon_bus_connected", labels, connected
        yield "busmon_bus_connects_total", labels, 1
        yield "busmon_blind_seconds_total", labels, self.counts["blind", bus]
        kind = "none"
        if self.wrong("disk full"):
            kind = "busmon"
        elif not connected:
            kind = "connection"
        elif bus == "fedora" and not self.listening:
            kind = "listener"
        for of in ("none", "busmon", "connection", "bus", "publisher", "listener", "workers"):
            yield "busmon_verdict", labels | {"kind": of}, of == kind

    def _of_topics(self) -> Iterator[Series]:
        for (bus, topic), volume in VOLUME.items():
            labels = {"bus": bus, "topic": topic}
            handled = labels | {"outcome": "handled", "reason": ""}
            yield "busmon_messages_total", handled, self.counts["messages", bus, topic]
            last = self.last.get((bus, topic), 0)
            yield "busmon_last_message_timestamp_seconds", labels, self.at(last)
            silent = self.quiet[bus, topic] > WINDOW
            yield "busmon_topic_baseline_ready", labels, 1
            yield "busmon_topic_silent", labels, silent
            yield "busmon_topic_silence_ratio", labels, 2 if silent else 0
            expected = self.quiet[bus, topic] * volume
            yield "busmon_topic_expected_since_last_messages", labels, expected
            if silent:
                since = "busmon_topic_quiet_since_timestamp_seconds"
                yield since, labels, self.at(last)

    def _of_listener(self) -> Iterator[Series]:
        fedora = {"bus": "fedora"}
        up = self._monitored
        yield "busmon_listener_up", fedora, up
        for state in ("received", "processed"):
            labels = fedora | {"state": state}
            yield "busmon_listener_messages_total", labels, self.counts["passed",]
        yield "busmon_listener_restarts_total", fedora, 0
        reported = self.minute
        if not self._sees("tap"):
            reported = max(fault.begin for fault in self.faults if fault.begin <= self.minute)
        yield "busmon_tap_last_report_timestamp_seconds", fedora, self.at(reported)
        yield "busmon_tap_reports_total", fedora | {"state": "passed"}, self.counts["passed",]
        yield "busmon_listener_queue_info", fedora | {"kind": "temporary"}, 1
        queue = fedora | {"queue": "packit"}
        yield "busmon_listener_queue_up", queue, not self.wrong("listener down")

    def gateway(self) -> Iterator[Series]:
        """Yield what Packit's push gateway exports."""
        yield "events_processed_total", {}, self.counts["processed",]
