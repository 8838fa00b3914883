"""A listener's own code as the rule book: `packit_service_fedmsg.callbacks:get_callback`.

The callable takes a topic and returns a callback; the callback takes topic, body and
the Packit user, and returns an object whose `pass_to_service` says whether the message
goes on to the worker. What that code reads from its environment, logs and prints is
its own matter.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from typing import Any

from busmon.message import Judgement, Message
from busmon.rules.base import HANDLED, RAISES, UNMAPPED, ignored

Callback = Callable[[str, Any, str], Any]

# No bus has this topic, so what it gives is what every unknown topic gives: the real
# get_callback() answers with a callback of its own that drops the message.
NO_TOPIC = ""


@dataclass(frozen=True, slots=True)
class ImportedRules:
    """Judges with a listener's callbacks; cannot name their topics beforehand."""

    get_callback: Callable[[str], Callback | None]
    user: str

    def judge(self, message: Message) -> Judgement:
        """Return the verdict: `not-passed` is the one reason that can be told apart."""
        if message.rejected is not None:
            return message.rejected
        try:
            callback = self._find(message.topic)
            if callback is None:
                return UNMAPPED
            if callback(message.topic, message.body, self.user).pass_to_service:
                return HANDLED
            return UNMAPPED if callback is self._find(NO_TOPIC) else ignored("not-passed")
        except (Exception, SystemExit):  # noqa: BLE001 - the very point: whatever it raises
            return RAISES

    def _find(self, topic: str) -> Callback | None:
        try:
            return self.get_callback(topic)
        except KeyError:
            return None

    def known_series(self) -> Iterator[tuple[str, Judgement]]:
        """Yield nothing: the topics are the foreign code's secret until they come."""
        return iter(())


def rule_set(name: str, user: str) -> ImportedRules:
    """Import `module:callable`; ValueError where that fails, whatever it fails of."""
    module, _, path = name.partition(":")
    try:
        found = attrgetter(path)(import_module(module))
    except Exception as error:
        raise ValueError(f"can't import {name}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"{name} is not callable")
    return ImportedRules(found, user)
