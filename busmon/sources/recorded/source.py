"""Recorded messages in place of a bus."""

import logging
from collections.abc import Iterator
from pathlib import Path

from busmon.message import Message
from busmon.sources import fedora_message
from busmon.sources.base import Cause, ConnectionState, MessageHandler
from busmon.sources.recorded.feed import feed
from busmon.sources.recorded.format import Format
from busmon.sources.recorded.reader import NOT_RECORD, UNREADABLE, lines_of, open_file, read
from busmon.sources.recorded.settings import ReplayBus

log = logging.getLogger(__name__)


class ReplaySource:
    """Reads files of recorded messages once, in order.

    After the last file `connection.problem()` stays None. If a file cannot be read to its end,
    the source goes on with the next. In the end the problem names all such files; busmon reads
    them again after a restart.
    """

    may_end = True
    rejections = (*fedora_message.REJECTIONS, NOT_RECORD)

    def __init__(self, name: str, settings: ReplayBus) -> None:
        self.name = name
        self.connection = ConnectionState()
        self._settings = settings
        self._unreadable: list[str] = []

    def run(self, handler: MessageHandler) -> None:
        """Hand over every message; returns at the end of the last file, or when stopped."""
        feed(self._messages(), self._settings.rate, self.connection, handler)
        if self._unreadable:
            self.connection.down(Cause.ERROR, "; ".join(self._unreadable))
        elif self.connection.stopping.is_set():
            self.connection.stopped()

    def stop(self) -> None:
        """Ask `run` to record its current batch and return."""
        self.connection.stopping.set()

    def _messages(self) -> Iterator[Message]:
        for path in self._settings.files:
            try:
                yield from self._read(path)
            except UNREADABLE as error:
                why = getattr(error, "strerror", None) or error
                log.error("%s: cannot read %s: %s", self.name, path, why)
                self._unreadable.append(f"cannot read {path}: {why}")

    def _read(self, path: Path) -> Iterator[Message]:
        with open_file(path) as file:
            for line in read(lines_of(file), str(path), self.name):
                if line.format is Format.BAD and line.message.rejected:
                    reason = line.message.rejected.reason
                    log.warning("%s: %s:%d: %s", self.name, path, line.number, reason)
                yield line.message
