"""A tap in the listener's process: reports to busmon what the listener did with each message.

    fedora-messaging consume --callback=busmon.tap:Tap

wraps the callback that `[consumer_config.busmon]` in the listener's fedora-messaging file
names, and does not change what it does. Nothing else of busmon is imported. The tap needs
only the standard library, and what the listener has anyway.
"""

import inspect
import logging
from collections.abc import Callable
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import click
from fedora_messaging import config

from busmon.tap.buffer import Buffer, CallReport
from busmon.tap.identity import MAX_CHARACTERS, decode, message_id
from busmon.tap.sender import Address, Sender

Callback = Callable[[Any], Any]

log = logging.getLogger(__name__)

# The ids of the Celery tasks that were published for the current message. asyncio's tasks and
# asyncio.to_thread inherit the variable; a thread that the callback starts itself does not.
_published: ContextVar[list[str] | None] = ContextVar("busmon_published", default=None)


class Tap:
    """`Tap()` is the listener's callback with the tap around it.

    An error of the callback ends the listener, as it would without the tap. An error of the
    tap itself is logged, and the listener works without the tap.
    """

    def __new__(cls) -> Callback:  # type: ignore[misc]  # a function: sync or async, as the callback
        """Return a function, or a coroutine function if the callback is one."""
        table = config.conf["consumer_config"].get("busmon")
        if not isinstance(table, dict) or not isinstance(table.get("callback"), str):
            raise ValueError('[consumer_config.busmon] should have callback = "module:callable"')
        callback = _load(table["callback"])
        try:
            address = _address(table)
            _listen_to_celery()
            buffer = Buffer()
            Sender(address, buffer).start()
        except (ValueError, OSError, ImportError, RuntimeError) as error:  # the last: of a thread
            log.error("the tap reports nothing to busmon: %s", error)
            return callback
        return tapped(callback, buffer)


def tapped(callback: Callback, buffer: Buffer) -> Callback:
    """Return the callback with the tap around each call."""

    def call(message: Any) -> Any:
        with _Watch(message, buffer):
            return callback(message)

    async def call_async(message: Any) -> Any:
        with _Watch(message, buffer):
            return await callback(message)

    # The same test as fedora-messaging's.
    if inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(
        getattr(callback, "__call__", None)  # noqa: B004 - whether it is async, not whether it is
    ):
        return call_async
    return call


class _Watch:
    """Reports what became of one message when its call ends, also by an exception."""

    __slots__ = ("_buffer", "_id", "_tasks", "_topic")

    def __init__(self, message: Any, buffer: Buffer) -> None:
        self._buffer = buffer
        self._id = message_id(message.id)
        self._topic = decode(message.topic)[:MAX_CHARACTERS]
        self._tasks: list[str] = []

    def __enter__(self) -> Self:
        _published.set(self._tasks)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _published.set(None)
        if self._tasks:  # passed on, even if the callback raised afterwards
            self._buffer.add(CallReport(self._id, self._topic, "passed", self._tasks[0]))
        else:
            self._buffer.add(
                CallReport(self._id, self._topic, "raised" if kind else "dropped", None)
            )


def _listen_to_celery() -> None:
    """Get each task that Celery publishes from now on; ImportError without Celery."""
    try:
        from celery.signals import after_task_publish
    except ImportError as error:
        raise ImportError("Celery is not installed, so nothing shows what is passed on") from error
    after_task_publish.connect(_note, weak=False, dispatch_uid=__name__)


def _note(headers: Any = None, body: Any = None, **_: object) -> None:
    tasks = _published.get()
    if tasks is not None:
        task = headers if "id" in headers else body  # Celery's message protocols 2 and 1
        tasks.append(str(task["id"]))


def _load(path: str) -> Callback:
    """Return the callback, an instance if it is a class; raise what fedora-messaging raises."""
    module_name, _, name = path.strip().partition(":")
    if not module_name or not name:
        raise click.ClickException(f'Unable to parse {path}; it should be "module:callable"')
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise click.ClickException(f"Failed to import the callback module ({error})") from error
    try:
        found: Any = getattr(module, name)
    except AttributeError as error:
        raise click.ClickException(f"Unable to import {path} ({error})") from error
    callback = found() if inspect.isclass(found) else found
    if not callable(callback):
        raise ValueError("Callback must be a class that implements __call__ or a function.")
    return callback  # type: ignore[no-any-return]  # callable, and that is all there is to know


def _address(table: dict[str, Any]) -> Address:
    """Return where to report; ValueError or OSError if the settings are wrong."""
    unknown = table.keys() - {"callback", "url", "bus", "token", "token_file", "ca"}
    if unknown:
        raise ValueError(f"[consumer_config.busmon]: no such setting: {', '.join(sorted(unknown))}")
    wrong = [key for key, value in table.items() if not isinstance(value, str) or not value]
    if wrong or not {"url", "bus"} <= table.keys() or ("token" in table) == ("token_file" in table):
        raise ValueError(
            "[consumer_config.busmon] should have texts: url, bus, and token or token_file"
        )
    token = table.get("token") or Path(table["token_file"]).read_text("ascii").strip()
    return Address.of(table["url"], table["bus"], token, table.get("ca"))
