"""The shape of `[silence]` and `[audit]`: what is expected of the buses and of the listener."""

from typing import Annotated

from pydantic import Field, SecretStr

from busmon.quantities import Seconds
from busmon.section import Section


class Silence(Section):
    """`[silence]`: when a topic has been silent for too long."""

    max_silence: Annotated[
        dict[str, Seconds], Field(default_factory=dict)
    ]  # by topic or pattern, instead of what is learned


class Reports(Section):
    """`[audit.reports]`: the tap in the listener's process reports to /v1/reports."""

    bus: str
    token: SecretStr


class ReadyPoll(Section):
    """`[audit.ready]`: the listener's own monitor is asked."""

    bus: str
    url: str
    interval: Seconds = 15


class Celery(Section):
    """`[audit.celery]`: the workers' events and queues are watched."""

    broker: SecretStr  # redis://… with its password
    bus: str
    tasks: tuple[str, ...] = ("task.steve_jobs.process_message",)
    queues: tuple[str, ...] = ("short-running",)
    interval: Seconds = 15


class Audit(Section):
    """`[audit]`: the books, balanced window by window."""

    window: Annotated[Seconds, Field(ge=10)] = 300
    grace: Seconds = 120
    reports: Reports | None = None
    ready: ReadyPoll | None = None
    celery: Celery | None = None
