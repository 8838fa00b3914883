"""The configuration file of fedora-messaging, usually the listener's own."""

import copy
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import SecretStr

from busmon.settings.toml import TomlError, read_toml
from busmon.sources.listener_queue import ListenerQueue
from busmon.text import check_host, format_address
from busmon.tls import UnusableFile, client_context

if TYPE_CHECKING:
    from pika import URLParameters

EXCHANGE = "amq.topic"
NO_CALLBACK = "MODULE:NAME"  # what to replace
TLS_KEYS = {"ca": "ca_cert", "certificate": "certfile", "key": "keyfile"}  # in [tls]


class Binding(NamedTuple):
    """A rule of the broker that brings messages of an exchange into a queue."""

    exchange: str
    routing_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FedoraToml:
    """What busmon reads from the file. It never consumes from `queues`: they are the listener's."""

    path: Path
    amqp_url: SecretStr
    broker: str  # host:port
    vhost: str
    tls: bool
    ca: Path | None
    certificate: Path | None
    key: Path | None
    bindings: tuple[Binding, ...]
    queues: frozenset[str]
    client_properties: dict[str, Any]  # what the listener says of itself at the broker


class UnusableToml(Exception):
    """The file cannot be used; `problems` has everything that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read(path: Path) -> FedoraToml:
    """Read the file as fedora-messaging does, its defaults included; raises UnusableToml."""
    conf = _load(path)
    if problems := [f"{path}: {problem}" for problem in _problems(conf)]:
        raise UnusableToml(problems)
    url = _parameters(conf["amqp_url"])
    secure = conf["amqp_url"].startswith("amqps://")
    tls = conf["tls"] if secure else {}  # without TLS it is ignored
    return FedoraToml(
        path=path,
        amqp_url=SecretStr(conf["amqp_url"]),
        broker=format_address(url.host, url.port),
        vhost=url.virtual_host,
        tls=secure,
        ca=_path(tls.get("ca_cert")),
        certificate=_path(tls.get("certfile")),
        key=_path(tls.get("keyfile")),
        bindings=tuple(
            Binding(binding["exchange"], routing_key)
            for binding in conf["bindings"]
            for routing_key in binding["routing_keys"]
        ),
        queues=frozenset(
            name for name in [*conf["queues"], *(b.get("queue") for b in conf["bindings"])] if name
        ),
        client_properties=conf["client_properties"],
    )


def routing_keys(path: Path) -> Iterator[str]:
    """Yield the routing keys of all bindings; raises UnusableToml. Checks nothing else."""
    conf = _load(path)
    if problems := [f"{path}: {problem}" for problem in _bindings_refused(conf)]:
        raise UnusableToml(problems)
    for binding in conf["bindings"]:
        yield from binding["routing_keys"]


def listener_queue(path: Path) -> ListenerQueue:
    """Return whether the queues outlive the connection of who declares them as the file says.

    Raises UnusableToml.
    """
    conf = _load(path)
    if problems := [f"{path}: {problem}" for problem in _queues_refused(conf)]:
        raise UnusableToml(problems)
    queues = conf["queues"].values()
    deleted = {bool(queue["exclusive"] or queue["auto_delete"]) for queue in queues}
    if conf["passive_declares"] or len(deleted) != 1:  # somebody else declares them; or both kinds
        return ListenerQueue.UNKNOWN
    return ListenerQueue.TEMPORARY if deleted == {True} else ListenerQueue.PERMANENT


def callback_options(path: Path) -> list[str]:
    """Return what fedora-messaging's commands need to find the callback; raises UnusableToml.

    If the file has settings of the tap, it is the tap, which calls the listener's own callback
    and reports it. If the file names none, it is on the listener's command line, as in Packit's
    image.
    """
    conf = _load(path)
    settings = conf["consumer_config"]
    if isinstance(settings, dict) and "busmon" in settings:
        return ["--callback=busmon_tap:Tap"]
    return [] if conf["callback"] else [f"--callback={NO_CALLBACK}"]


def tls_context(toml: FedoraToml) -> ssl.SSLContext:
    """Return the context that [tls] asks for; raises UnusableFile with the key in [tls]."""
    try:
        return client_context(toml.ca, toml.certificate, toml.key)
    except UnusableFile as error:
        raise UnusableFile(TLS_KEYS[error.setting], error.why) from error


def _load(path: Path) -> dict[str, Any]:
    # Imported here: it takes a fifth of a second, and other buses do not need it.
    from fedora_messaging.config import DEFAULTS

    # Not fedora-messaging's load_config(): it takes a missing file for an empty one.
    try:
        tables = read_toml(path)
    except TomlError as error:
        raise UnusableToml([str(error)]) from error
    return copy.deepcopy(dict(DEFAULTS)) | {key.lower(): value for key, value in tables.items()}


def _problems(conf: dict[str, Any]) -> Iterator[str]:
    """Yield what fedora-messaging refuses, at once or only when it connects."""
    from fedora_messaging import config as fedora

    yield from (f"{key}: no such setting" for key in conf if key not in fedora.DEFAULTS)
    yield from _queues_refused(conf)
    yield from _bindings_refused(conf)
    yield from _refused("client_properties", fedora.validate_client_properties, conf)
    try:
        _parameters(conf["amqp_url"])
    except ValueError as error:
        yield f"amqp_url: {error}"
    yield from _tls_problems(conf)


def _refused(key: str, validate: Callable[[Any], None], conf: dict[str, Any]) -> Iterator[str]:
    from fedora_messaging.exceptions import ConfigurationException

    try:
        validate(conf[key])
    except ConfigurationException as error:
        yield f"{key}: {error.message}"
    except (TypeError, AttributeError):  # of a value of the wrong type
        yield f"{key}: has a value of the wrong type"


def _queues_refused(conf: dict[str, Any]) -> Iterator[str]:
    from fedora_messaging.config import validate_queues

    yield from _refused("queues", validate_queues, conf)


def _bindings_refused(conf: dict[str, Any]) -> Iterator[str]:
    from fedora_messaging.config import validate_bindings

    refused = list(_refused("bindings", validate_bindings, conf))
    yield from refused or _binding_problems(conf["bindings"])


def _binding_problems(bindings: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for binding in bindings:
        names = [binding["exchange"], binding.get("queue", ""), *binding["routing_keys"]]
        if not all(isinstance(name, str) for name in names):
            yield "bindings: exchange, queue and routing_keys should be strings"


def _tls_problems(conf: Mapping[str, Any]) -> Iterator[str]:
    tls = conf["tls"]
    if not isinstance(tls, dict):
        yield "tls: should be a table"
        return
    if not str(conf["amqp_url"]).startswith("amqps://"):
        return
    for key in TLS_KEYS.values():
        if key not in tls:
            yield f"tls.{key}: is missing; fedora-messaging needs all three in [tls]"
        elif tls[key] is not None and not isinstance(tls[key], str):
            yield f"tls.{key}: should be a string"
        elif tls[key]:
            try:
                Path(tls[key]).open("rb").close()
            except OSError as error:
                yield f"tls.{key}: {tls[key]}: {error.strerror}"
            except ValueError:
                yield f"tls.{key}: should not contain a null character"
    if "certfile" in tls and "keyfile" in tls and bool(tls["certfile"]) != bool(tls["keyfile"]):
        yield "tls: certfile and keyfile need each other; fedora-messaging ignores one alone"


@lru_cache(8)  # for an amqps:// pika loads all CAs of the system, each time anew: 24 ms
def parameters(url: str) -> "URLParameters":
    """Return what pika reads from a URL, but for TLS, of which [tls] decides.

    Raises what pika raises.
    """
    from pika import URLParameters

    found = URLParameters(url)
    found.ssl_options = None
    return found


def _parameters(url: object) -> "URLParameters":
    if not isinstance(url, str) or not url.startswith(("amqp://", "amqps://")):
        raise ValueError("should begin with amqp:// or amqps://")
    try:
        found = parameters(url)
    except (ValueError, TypeError, SyntaxError):
        # Without the reason, which can contain a part of the password.
        raise ValueError("is refused by pika: check its port and what follows the ?") from None
    check_host(found.host)
    return found


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None
