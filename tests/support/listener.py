"""A listener's callbacks, in the shape of packit_service_fedmsg.callbacks."""

import os
from types import SimpleNamespace
from typing import Any


def get_callback(topic: str) -> Any:
    """Return the topic's callback, or the one that drops messages of unknown topics."""
    return {"builds": by_user, "pushes": by_project, "everything": passes}.get(topic, drops)


def by_user(topic: str, body: dict[str, Any], user: str) -> SimpleNamespace:
    """Pass on what the user did; raise on a body that does not name one."""
    return SimpleNamespace(msg=topic, pass_to_service=body["user"] == user)


def by_project(topic: str, body: dict[str, Any], user: str) -> SimpleNamespace:
    """Read the environment at each call: some projects want pushes that change a spec file."""
    wants_specfile = os.getenv("PROJECT", "").startswith("packit")
    passed = body["specfile"] or not wants_specfile
    deployment = {"packit": "prod", "packit-stg": "stg"}.get(user)
    assert os.getenv("DEPLOYMENT") == deployment
    return SimpleNamespace(msg=topic, pass_to_service=passed)


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
