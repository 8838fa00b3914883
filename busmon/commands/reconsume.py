"""The command that makes a listener consume a message again, which it gets from Datagrepper."""

import shlex
from typing import NamedTuple
from uuid import UUID

from busmon.config.model import Config
from busmon.sources.amqp.fedora_toml import NO_CALLBACK

ANY_BUS = "fedora-messaging reconsume"  # without a configuration each bus is Fedora's
DATAGREPPER = "https://apps.fedoraproject.org/datagrepper"  # which fedora-messaging asks by itself
NAME_THE_CALLBACK = (
    f"The listener's file names no callback: replace {NO_CALLBACK} by that of `--callback` on the"
    " listener's command line."
)


class Reconsume(NamedTuple):
    """How a message is consumed again, or why it cannot be: one of the two is None."""

    command: str | None
    why_not: str | None = None


class ReconsumeCommands:
    """The commands of each bus. The configuration says which file its listener has."""

    def __init__(self, config: Config | None) -> None:
        self._commands: dict[str, str | None] | None = None
        if config is None:
            return
        self._commands = {name: bus.reconsume_command() for name, bus in config.buses.items()}
        if (archive := config.archive) is None:
            return
        url, own = archive.url.rstrip("/"), self._commands[archive.bus]
        if own and url != DATAGREPPER:
            self._commands[archive.bus] = f"{own} --datagrepper-url {shlex.quote(url)}"

    def of(self, bus: str, message_id: str) -> Reconsume:
        """Return how a message of a bus is consumed again."""
        command = ANY_BUS if self._commands is None else self._commands.get(bus)
        if command is None:
            return Reconsume(None, "in no archive, so it cannot be consumed again")
        if not is_uuid(message_id):
            return Reconsume(None, "not a UUID, so `fedora-messaging reconsume` refuses it")
        return Reconsume(f"{command} {message_id}")


def is_uuid(text: str) -> bool:
    """Return whether an id is a UUID as fedora-messaging writes it."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
