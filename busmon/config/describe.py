"""What a configuration would watch and serve, in a few lines without secrets."""

from collections.abc import Iterator

from busmon.config.model import Config
from busmon.settings.audit import Audit
from busmon.settings.models import LedgerSettings, Web
from busmon.settings.section import Row
from busmon.settings.units import format_bytes, format_seconds
from busmon.text import format_items


def describe(config: Config) -> str:
    """Return what `busmon check-config` prints; reads fedora-messaging's files again."""
    lines = []
    for name, bus in config.buses.items():
        lines += [f"{name}: {bus.type}, rules {bus.rules}", *_aligned(bus.describe())]
    lines += ["web", *_aligned(_web(config.web)), "ledger", *_aligned(_ledger(config.ledger))]
    if silence := config.silence.max_silence:
        times = ((pattern, format_seconds(time)) for pattern, time in silence.items())
        lines += ["silence", *_aligned((f"after {time}", pattern) for pattern, time in times)]
    if observers := list(_aligned(_audit(config.audit))):
        lines += ["audit", *observers]
    return "\n".join(lines)


def _aligned(rows: Iterator[Row]) -> Iterator[str]:
    return (f"  {label:<11} {text}" for label, text in rows)


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
    retention, size = format_seconds(ledger.retention), format_bytes(ledger.size_limit)
    yield "path", ledger.path
    yield "keeps", f"messages for {retention}, at most {size}"


def _audit(audit: Audit) -> Iterator[Row]:
    if reports := audit.reports:
        yield "reports", f"of the tap of {reports.bus}, at /v1/reports with a bearer token"
    if ready := audit.ready:
        every = format_seconds(ready.interval)
        yield "ready", f"of the listener of {ready.bus}, every {every}"
    if celery := audit.celery:
        tasks, queues = format_items(celery.tasks, "task"), format_items(celery.queues, "queue")
        yield "celery", f"behind {celery.bus}, {tasks}; {queues}"
