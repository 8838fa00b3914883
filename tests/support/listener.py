"""A listener's callbacks, in the shape of packit_service_fedmsg.callbacks."""

from types import SimpleNamespace
from typing import Any


def get_callback(topic: str) -> Any:
    """Return the topic's callback, or the one that drops messages of unknown topics."""
    return {"builds": by_user, "everything": passes}.get(topic, drops)


def by_user(topic: str, body: dict[str, Any], user: str) -> SimpleNamespace:
    """Pass on what the user did; raise on a body that does not name one."""
    return SimpleNamespace(msg=topic, pass_to_service=body["user"] == user)


def passes(topic: str, _body: Any, _user: str) -> SimpleNamespace:
    return SimpleNamespace(msg=topic, pass_to_service=True)


def drops(topic: str, _body: Any, _user: str) -> SimpleNamespace:
    return SimpleNamespace(msg=topic, pass_to_service=False)


CALLBACKS = {"builds": by_user}


class Nested:
    """Callables that answer an unknown topic with nothing, or raise KeyError."""

    get = CALLBACKS.get
    item = CALLBACKS.__getitem__


def one_for_all(_topic: str) -> Any:
    return by_user


def raises(topic: str) -> Any:
    raise RuntimeError(topic)


NOT_CALLABLE = "text"
