"""Errors that busmon logs, reported to Sentry: what happened and where in the code.

An event has nothing of a message and no secret in it: not the texts of exceptions, no local
variables, and of what the log shows only numbers and the names of buses and threads.
"""

import logging
import re
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

from busmon import __version__
from busmon.problem_log import ProblemLog
from busmon.settings.section import Section, checked
from busmon.text import check_host
from busmon.threads import ThreadDied

if TYPE_CHECKING:
    from sentry_sdk.transport import HttpTransport

PAUSE_SECONDS = 3600.0  # between two reports of the same error
QUEUED_EVENTS = 20  # while Sentry does not answer; others are dropped
STOP_TIMEOUT = 0.5  # seconds to send the last events; the process has to end within 5 s

log = logging.getLogger(__name__)


def _dsn(secret: SecretStr) -> SecretStr:
    """Check the DSN. The error must not repeat it."""
    try:
        parts = urlsplit(secret.get_secret_value())
        key = parts.scheme in {"http", "https"} and parts.username and parts.hostname
        known = key and parts.port != 0 and parts.path.rpartition("/")[2].isdecimal()
    except ValueError:
        known = False
    if not known:
        raise ValueError("should be https://KEY@HOST/PROJECT, as Sentry shows it")
    check_host(str(parts.hostname))
    return secret


def _environment(name: str) -> None:
    """Check the name as Sentry's documentation of environments has it."""
    if not re.fullmatch(r"[^\s/]{1,64}", name) or name == "None" or not name.isprintable():
        raise ValueError("should be at most 64 characters without spaces and slashes, not None")


class SentrySettings(Section):
    """`[sentry]`: the errors that busmon logs are reported to Sentry."""

    dsn: Annotated[SecretStr, AfterValidator(_dsn)]
    environment: Annotated[str, checked(_environment)] = "production"

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:  # noqa: ARG003 - not about settings
        """See Section."""
        if not find_spec("sentry_sdk"):
            yield "", 'needs sentry-sdk: install busmon with its extra "sentry"'

    def describe(self) -> str:
        """Return where errors are reported, without the key."""
        host = urlsplit(self.dsn.get_secret_value()).hostname
        return f"to {host}, environment {self.environment}"


class SentryHandler(logging.Handler):
    """Sends each error that is logged to Sentry, the same one of a bus once an hour. Never waits.

    A thread of the SDK sends the events; `close` waits for it for at most STOP_TIMEOUT.
    """

    def __init__(self, settings: SentrySettings, buses: Collection[str]) -> None:
        super().__init__(logging.ERROR)
        from sentry_sdk import Client  # takes memory, and is an extra

        self._buses = buses
        self._next: dict[tuple[object, ...], float] = {}  # monotonic, by place and names
        self._client = Client(
            settings.dsn.get_secret_value(),
            environment=settings.environment,
            release=f"busmon@{__version__}",
            # Integrations add what they find: arguments, environment, requests, breadcrumbs.
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            include_source_context=False,
            in_app_include=["busmon"],
            send_client_reports=False,
            spotlight=False,
            debug=False,
            transport=_transport(),
            transport_queue_size=QUEUED_EVENTS,
        )

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        try:
            shown = self._shown(record)
            if self._is_due(record, shown):
                self._client.capture_event(self._event(record, shown))
        except Exception:  # noqa: BLE001 - logging's way; it must not disturb what logs
            self.handleError(record)

    def close(self) -> None:
        """Send the last events."""
        self._client.close(STOP_TIMEOUT)
        super().close()

    def _is_due(self, record: logging.LogRecord, shown: list[Any]) -> bool:
        """Return whether this error was not reported recently, of the same bus or thread."""
        error, now = record.exc_info[0] if record.exc_info else None, time.monotonic()
        names = tuple(value for value in shown if isinstance(value, str))
        place = record.pathname, record.lineno, error, names
        if now < self._next.get(place, now):
            return False
        self._next[place] = now + PAUSE_SECONDS
        return True

    def _event(self, record: logging.LogRecord, shown: list[Any]) -> Any:
        event: Any = {}
        if record.exc_info and record.exc_info[0]:
            from sentry_sdk.utils import event_from_exception

            event, _ = event_from_exception(record.exc_info, self._client.options)
            for exception in event["exception"]["values"]:
                del exception["value"]  # its text
        return event | {
            "level": "error",
            "logger": record.name,
            "transaction": f"{record.name}.{record.funcName}",  # Sentry's word for where it was
            "logentry": {
                "message": record.msg,
                "params": shown,
                "formatted": record.msg % tuple(shown) if shown else record.msg,
            },
            "tags": {"thread": record.threadName},
        }

    def _shown(self, record: logging.LogRecord) -> list[Any]:
        """Return the values of the line: numbers, names of buses and of the thread, or "…"."""
        given = record.args if isinstance(record.args, tuple) else ()
        known = *self._buses, record.threadName
        return [one if isinstance(one, int | float) or one in known else "…" for one in given]


def _transport() -> type["HttpTransport"]:
    from sentry_sdk.transport import HttpTransport

    problems = ProblemLog(log)

    class Transport(HttpTransport):
        """Sends events, and logs why Sentry does not get one."""

        def on_dropped_event(self, reason: str) -> None:
            problems.problem(f"an error is not reported to Sentry: {reason}")

    return Transport


@contextmanager
def reporting(settings: SentrySettings | None, buses: Collection[str]) -> Iterator[None]:
    """Report the errors that busmon logs meanwhile, and an exception that ends it."""
    if settings is None:
        yield
        return
    handler, own = SentryHandler(settings, buses), logging.getLogger("busmon")
    own.addHandler(handler)
    try:
        yield
    except ThreadDied:  # was logged
        raise
    except Exception:
        place = __file__, 0, "busmon ends", (), sys.exc_info()
        handler.handle(log.makeRecord(log.name, logging.ERROR, *place))
        raise
    finally:
        own.removeHandler(handler)
        handler.close()
