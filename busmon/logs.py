"""Logging: one line an event on standard error, as text or as JSON."""

import json
import logging
from datetime import UTC, datetime

from busmon.settings.models import Log
from busmon.text import printable

# What the libraries say of connections, busmon says itself, with what to check.
QUIET = {"fedora_messaging": "ERROR", "pika": "CRITICAL", "stomp": "CRITICAL", "twisted": "ERROR"}
TELLTALE = "fedora_messaging.message"  # shows what is in a message


def setup(settings: Log) -> None:
    """Send every logger's records to standard error, from the configured level on."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        _Json() if settings.format == "json" else _Text("%(asctime)s %(levelname)-7s %(message)s")
    )
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.getLogger(TELLTALE).setLevel(logging.CRITICAL)
    if settings.level != "debug":
        for name, level in QUIET.items():
            logging.getLogger(name).setLevel(level)


class _Text(logging.Formatter):
    """One line a record, whatever a broker's words hold; a traceback comes below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name there
        return printable(super().formatMessage(record))


class _Json(logging.Formatter):
    """One JSON object a record, on one line."""

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
