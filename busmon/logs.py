"""Logging: one line for each event on standard error, as text or as JSON."""

import json
import logging
from datetime import UTC, datetime

from busmon.settings.models import Log
from busmon.text import printable

# busmon itself logs what happens to connections, and what to check.
LIBRARY_LEVELS = {
    "fedora_messaging": "ERROR",
    "pika": "CRITICAL",
    "stomp": "CRITICAL",
    "urllib3": "ERROR",  # of sentry-sdk
}
CONTENT_LOGGER = "fedora_messaging.message"  # it logs the content of messages


def setup(settings: Log) -> None:
    """Write every logger's records of the configured level or higher to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        _Json() if settings.format == "json" else _Text("%(asctime)s %(levelname)-7s %(message)s")
    )
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.getLogger(CONTENT_LOGGER).setLevel(logging.CRITICAL)
    if settings.level != "debug":
        for name, level in LIBRARY_LEVELS.items():
            logging.getLogger(name).setLevel(level)


class _Text(logging.Formatter):
    """One line for each record, whatever a broker sends; a traceback follows it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, ARG002 - logging's names
        return f"{datetime.fromtimestamp(record.created, UTC):%F %T}.{int(record.msecs):03d} UTC"


class _Json(logging.Formatter):
    """One JSON object for each record, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)
