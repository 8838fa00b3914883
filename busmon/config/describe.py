"""A summary of a configuration: what busmon would watch and serve, without secrets."""

from collections.abc import Iterable, Iterator

from busmon.config.model import Config
from busmon.rules import rule_set
from busmon.settings.archive import Archive
from busmon.settings.models import LedgerSettings, Web
from busmon.settings.section import Row
from busmon.settings.units import format_bytes, format_seconds
from busmon.silence.expected import ExpectedTopics
from busmon.sources.bus import subscriptions
from busmon.text import format_time


def describe(config: Config) -> str:
    """Return what `busmon check-config` prints."""
    lines = []
    for name, bus in config.buses.items():
        lines += [f"{name}: {bus.type}, rules {bus.rules}", *_aligned(bus.describe())]
    if rules := list(_rules(config)):
        lines += ["rules", *_aligned(rules)]
    lines += ["web", *_aligned(_web(config.web)), "ledger", *_aligned(_ledger(config.ledger))]
    if silence := list(_silence(config)):
        lines += ["silence", *_aligned(silence)]
    if config.archive:
        lines += ["archive", *_aligned(_archive(config.archive))]
    if observers := config.audit.describe(config.buses):
        lines += ["audit", *_aligned(observers)]
    if levels := [(name, level.describe()) for name, level in config.slo.items()]:
        lines += ["slo", *_aligned(levels)]
    if config.sentry:
        lines += ["sentry", *_aligned([("reports", config.sentry.describe())])]
    return "\n".join(lines)


def _aligned(rows: Iterable[Row]) -> Iterator[str]:
    return (f"  {label:<11} {text}" for label, text in rows)


def _rules(config: Config) -> Iterator[Row]:
    """Yield the settings of the listeners on which the outcome depends."""
    used = {bus.rules for bus in config.buses.values()}
    packit, subtopics = config.rules.packit, config.rules.centos.subtopics
    if any(name == "packit" or ":" in name for name in used):
        yield "packit", f"user {packit.user}, project {packit.project}"
    if "centos" in used and subtopics:
        yield "centos", f"what begins with {' or '.join(subtopics)} after the first /"


def _silence(config: Config) -> Iterator[Row]:
    silence = config.silence
    rules = {name: rule_set(bus.rules, config.rules) for name, bus in config.buses.items()}
    known = ExpectedTopics(silence, rules, subscriptions(config.buses)).known
    for topic, seconds in sorted(known.items()):
        yield (
            f"within {format_seconds(int(seconds))}",
            f"{topic.bus}: {topic.name}, until it has a baseline",
        )
    for pattern, seconds in silence.max_silence.items():
        yield f"after {format_seconds(seconds)}", pattern
    for pattern, since in silence.retired.items():
        yield "retired", f"{pattern} from {format_time(since)} on"


def _archive(archive: Archive) -> Iterator[Row]:
    through = f", through {archive.proxy}" if archive.proxy else ""
    yield "asks", f"{archive.url} about {archive.bus}{through}"


def _web(web: Web) -> Iterator[Row]:
    scheme = "https" if web.certificate else "http"
    token, login = web.token and "the bearer token", web.username and "user and password"
    either = " or ".join(thing for thing in (token, login) if thing)
    asked = "a client certificate" if web.client_ca else "", either
    needed = " and ".join(thing for thing in asked if thing)
    yield "address", f"{scheme}://{web.listen}/metrics"
    yield "access", f"with {needed}" if needed else "open to all who reach it"
    if web.public_url:
        yield "public", web.public_url
    if web.operators:
        yield "operators", f"{', '.join(web.operators)}: may read, accept gaps and forget names"


def _ledger(ledger: LedgerSettings) -> Iterator[Row]:
    retention, size = format_seconds(ledger.retention), format_bytes(ledger.size_limit)
    place = ledger.place()
    yield ("path", place) if isinstance(place, str) else place.describe()
    yield "keeps", f"messages for {retention}, at most {size}"
