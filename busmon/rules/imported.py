"""A listener's own code as a rule set: `packit_service_fedmsg.callbacks:get_callback`.

The callable takes a topic and returns a callback. The callback takes topic, body and the
Packit user. It returns an object whose `pass_to_service` says whether the message goes on to
the worker. That code may also log and print, and read the environment: what packit-service-fedmsg
has there is set for it, in this process.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from typing import Any

from busmon.message import Judgement, Message
from busmon.rules.base import HANDLED, RAISES, UNMAPPED, ignored
from busmon.rules.packit import PackitRules

Callback = Callable[[str, Any, str], Any]

# No bus has this topic, so its callback is the one for unknown topics: the real
# get_callback() has such a callback, which drops the message.
NO_TOPIC = ""

DEPLOYMENTS = {"packit": "prod", "packit-stg": "stg"}  # by Packit user


@dataclass(frozen=True, slots=True)
class ImportedRules:
    """Judges with the callbacks of a listener. Their topics are not known beforehand."""

    get_callback: Callable[[str], Callback | None]
    user: str

    def judge(self, message: Message) -> Judgement:
        """Return the judgement. A message that is dropped has the one reason `not-passed`."""
        if message.rejected is not None:
            return message.rejected
        if message.unreadable is not None:
            return self.unreadable(message.unreadable)
        try:
            callback = self._find(message.topic)
            if callback is None:
                return UNMAPPED
            if callback(message.topic, message.body, self.user).pass_to_service:
                return HANDLED
            return UNMAPPED if callback is self._find(NO_TOPIC) else ignored("not-passed")
        except (Exception, SystemExit):  # noqa: BLE001 - whatever it raises is a judgement
            return RAISES

    def _find(self, topic: str) -> Callback | None:
        try:
            return self.get_callback(topic)
        except KeyError:
            return None

    def unreadable(self, why: Judgement) -> Judgement:
        """Return what it is: the callbacks only take what has been read."""
        return why

    def known_series(self) -> Iterator[tuple[str, Judgement]]:
        """Yield nothing: the topics are not known before a message has one."""
        return iter(())

    def busiest(self) -> Iterator[str]:
        """Yield nothing: the topics are not known."""
        return iter(())


def rule_set(name: str, listener: PackitRules) -> ImportedRules:
    """Import `module:callable` of a listener with these settings; ValueError says why that fails.

    Sets what the code reads from the environment, which belongs to all of the process: its import
    may read it, too.
    """
    _set_environment(listener)
    module, _, path = name.partition(":")
    try:
        found = attrgetter(path)(import_module(module))
    except (Exception, SystemExit) as error:
        raise ValueError(f"cannot import {name}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"{name} is not callable")
    return ImportedRules(found, listener.user)


def _set_environment(listener: PackitRules) -> None:
    wanted = {"PROJECT": listener.project}
    if listener.user in DEPLOYMENTS:
        wanted["DEPLOYMENT"] = DEPLOYMENTS[listener.user]
    wrong = [
        f"{variable} is {os.environ[variable]!r} in the environment, but {value!r}"
        for variable, value in wanted.items()
        if os.environ.get(variable, value) != value
    ]
    if wrong:
        raise ValueError(f"{'; '.join(wrong)} by the settings of the rules")
    os.environ.update(wanted)
