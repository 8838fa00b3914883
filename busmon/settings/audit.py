"""The shape of `[silence]` and `[audit]`: what is expected of the buses and of the listener."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from busmon.settings.section import File, Section, Strings
from busmon.settings.units import Seconds


def _monitor_url(text: str) -> str:
    if "@" in text:  # the URL is logged
        raise ValueError("should hold no user and no password")
    try:
        parts = urlsplit(text)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return text
    except ValueError:  # of a port, or of brackets
        pass
    raise ValueError("should be http://HOST:PORT/ready of the listener's fedora-messaging")


def _redis_url(secret: SecretStr) -> SecretStr:
    """Refuse what is no Redis; the error must not repeat it, since it may hold a password."""
    try:
        parts = urlsplit(secret.get_secret_value())
        known = parts.scheme in {"redis", "rediss"} and parts.hostname and parts.port != 0
        if known and not parts.query and not parts.fragment:
            return secret
    except ValueError:
        pass
    raise ValueError("should be redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], or rediss://")


def _ascii(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if text.isascii() and text.isprintable():
        return secret
    raise ValueError("should be of printable ASCII characters")


class Silence(Section):
    """`[silence]`: when a topic has been silent for too long."""

    # By topic or pattern, in place of what is learned.
    max_silence: dict[str, Seconds] = Field(default_factory=dict)


class Reports(Section):
    """`[audit.reports]`: the tap in the listener's process reports to /v1/reports."""

    bus: str
    token: Annotated[SecretStr, AfterValidator(_ascii)]


class ReadyPoll(Section):
    """`[audit.ready]`: the listener's own monitor is asked."""

    bus: str
    url: Annotated[str, AfterValidator(_monitor_url)]
    interval: Seconds = 15


class Celery(Section):
    """`[audit.celery]`: the workers' events and queues are watched."""

    bus: str
    broker: Annotated[SecretStr, AfterValidator(_redis_url)]  # with its password
    ca: File | None = None  # who signed the certificate of a rediss:// broker
    tasks: Annotated[Strings, Field(min_length=1)] = ("task.steve_jobs.process_message",)
    queues: Strings = ("short-running",)
    interval: Seconds = 15

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See Section."""
        if "ca" in given and not str(given.get("broker")).startswith("rediss:"):
            yield "ca", "needs a broker of rediss://"


class Audit(Section):
    """`[audit]`: the books, balanced window by window."""

    window: Seconds = 300  # of the time of receipt
    grace: Seconds = 120  # after a window, for the listener and the workers to get there
    longest_task: Seconds = 3600  # after a window, for the workers to finish what they took
    reports: Reports | None = None
    ready: ReadyPoll | None = None
    celery: Celery | None = None
