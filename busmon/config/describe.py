"""What a configuration would watch and serve, in a few lines without secrets."""

from collections.abc import Iterator, Mapping, Sequence

from busmon.settings.audit import Audit
from busmon.settings.models import (
    AmqpBus,
    AnyBus,
    Config,
    LedgerSettings,
    MqttBus,
    ReplayBus,
    StompBus,
    Tls,
    Web,
    mqtt_broker,
)
from busmon.settings.units import SIZES, UNITS
from busmon.sources.amqp import fedora_toml
from busmon.text import format_address

DURATIONS = {unit: size for unit, size in UNITS.items() if unit != "w"}  # 7d is plainer than 1w
SHOWN = 3  # of a list, the first few

Row = tuple[str, str]


def describe(config: Config) -> str:
    """Return what `busmon check-config` prints; reads fedora-messaging's files again."""
    lines = []
    for name, bus in config.buses.items():
        lines += [f"{name}: {bus.type}, rules {bus.rules}", *_aligned(_bus(bus))]
    lines += ["web", *_aligned(_web(config.web)), "ledger", *_aligned(_ledger(config.ledger))]
    if silence := config.silence.max_silence:
        times = ((pattern, _quantity(time, DURATIONS)) for pattern, time in silence.items())
        lines += ["silence", *_aligned((f"after {time}", pattern) for pattern, time in times)]
    if observers := list(_aligned(_audit(config.audit))):
        lines += ["audit", *observers]
    return "\n".join(lines)


def _aligned(rows: Iterator[Row]) -> Iterator[str]:
    return (f"  {label:<11} {text}" for label, text in rows)


def _bus(bus: AnyBus) -> Iterator[Row]:
    match bus:
        case AmqpBus():
            return _amqp(bus)
        case MqttBus():
            return _mqtt(bus)
        case StompBus():
            return _stomp(bus)
        case ReplayBus():
            return _replay(bus)


def _amqp(bus: AmqpBus) -> Iterator[Row]:
    toml = fedora_toml.read(bus.config)
    keys = list(dict.fromkeys(key for _, key in fedora_toml.bindings(bus, toml)))
    tls = _tls(toml.tls, toml.certificate is not None)
    yield "broker", f"{toml.broker}, vhost {toml.vhost}, {tls}, as {toml.path} says"
    yield "subscribes", _counted(keys, "routing key")
    yield "queue", str(bus.queue or "its own, made at the first start")


def _mqtt(bus: MqttBus) -> Iterator[Row]:
    host, port = mqtt_broker(bus.url)
    security = _security(bus.url.startswith("mqtts:"), bus, bus.username is not None)
    yield "broker", f"{format_address(host, port)}, MQTT {bus.version}, {security}"
    yield "subscribes", _counted(bus.topics, "topic")
    if bus.subtopics:
        yield "counts", f"what begins with {' or '.join(bus.subtopics)} after the first /"
    yield "session", f"persistent, of client {bus.client_id}, QoS {bus.qos}"


def _stomp(bus: StompBus) -> Iterator[Row]:
    yield "broker", f"{' or '.join(bus.brokers)}, {_security(bus.tls, bus, bus.login is not None)}"
    yield "subscribes", _counted(bus.destinations, "destination")
    durable = f"durable, of client {bus.client_id}" if bus.client_id else "not durable"
    yield "session", f"{durable}, ack {bus.ack}"


def _replay(bus: ReplayBus) -> Iterator[Row]:
    yield "reads", _counted([str(file) for file in bus.files], "file")
    yield "rate", f"{bus.rate:g} messages a second" if bus.rate else "as fast as it can"


def _web(web: Web) -> Iterator[Row]:
    scheme = "https" if web.certificate else "http"
    asked = [
        "a client certificate" if web.client_ca else "",
        "the bearer token" if web.token else "",
        "user and password" if web.username else "",
    ]
    needed = " and ".join(thing for thing in asked if thing)
    yield "address", f"{scheme}://{web.listen}/metrics"
    yield "access", f"with {needed}" if needed else "open to all who reach it"


def _ledger(ledger: LedgerSettings) -> Iterator[Row]:
    retention, size = _quantity(ledger.retention, DURATIONS), _quantity(ledger.size_limit, SIZES)
    yield "path", ledger.path
    yield "keeps", f"messages for {retention}, at most {size}"


def _audit(audit: Audit) -> Iterator[Row]:
    if reports := audit.reports:
        yield "reports", f"of the tap of {reports.bus}, at /v1/reports with a bearer token"
    if ready := audit.ready:
        every = _quantity(ready.interval, DURATIONS)
        yield "ready", f"of the listener of {ready.bus}, every {every}"
    if celery := audit.celery:
        tasks, queues = _counted(celery.tasks, "task"), _counted(celery.queues, "queue")
        yield "celery", f"behind {celery.bus}, {tasks}; {queues}"


def _security(tls: bool, bus: Tls, login: bool) -> str:
    return f"{_tls(tls, bus.certificate is not None)}, {'password' if login else 'no password'}"


def _tls(tls: bool, certificate: bool) -> str:
    if not tls:
        return "no TLS"
    return "TLS with client certificate" if certificate else "TLS"


def _counted(items: Sequence[str], noun: str) -> str:
    """Return `5 topics: a, b, c and 2 more`."""
    count = f"1 {noun}" if len(items) == 1 else f"{len(items)} {noun}s"
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return f"{count}: {', '.join(items[:SHOWN])}{more}"


def _quantity(number: int, units: Mapping[str, int]) -> str:
    """Return the number as the configuration file has it, in the largest unit that fits."""
    unit = max((unit for unit in units if number % units[unit] == 0), key=units.__getitem__)
    return f"{number // units[unit]}{unit or ' bytes'}"
