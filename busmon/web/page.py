"""The page: the verdict on each bus with its evidence, and what came from it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from busmon import __version__
from busmon.diagnosis.incident_text import times
from busmon.diagnosis.verdict import FaultKind, worst
from busmon.diagnosis.watcher import Diagnosis
from busmon.ledger.batch import Count, Series, last_received
from busmon.ledger.incidents import Incident
from busmon.message import Outcome
from busmon.silence.histories import Topic
from busmon.silence.watcher import RetiredTopic
from busmon.sources import schema_packages
from busmon.sources.base import ConnectionState
from busmon.text import format_age, format_duration, format_number, format_time

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="30">
<title>busmon: {title}</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #cf222e }}
@media (prefers-color-scheme: dark) {{ :root {{ --good: #3fb950; --bad: #ff7b72 }} }}
body {{ font: 16px/1.5 system-ui, sans-serif }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.6rem; margin: 0 }}
h1 small {{ font-size: 1rem; font-weight: normal; opacity: .7 }}
.scroll {{ overflow-x: auto; margin: 1.5rem 0 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line) }}
th, .good {{ white-space: nowrap }}
th {{ font-weight: 600 }}
.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }}
.good {{ color: var(--good) }}
.bad {{ color: var(--bad); overflow-wrap: anywhere }}
</style>
</head>
<body>
<h1>busmon <small>{version}</small></h1>
<p>Counts every message of these buses, and what becomes of it at their listener.</p>
{problems}
{verdicts}
{incidents}
<div class="scroll"><table>
<thead><tr><th>Bus</th><th>State</th>{outcomes}<th class="number">Newest</th></tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
<p>Schemas of Fedora's messages: {schemas}</p>
{retired}
<p>As of {now}. All times are in UTC.</p>
<p><a href="/metrics">/metrics</a> · <a href="/v1/status">/v1/status</a> ·
<a href="/ready">/ready</a> · <a href="/live">/live</a></p>
</body>
</html>
"""


VERDICTS = {
    FaultKind.NONE: "All is well",
    FaultKind.BUSMON: "Fault: busmon itself",
    FaultKind.CONNECTION: "Fault: the connection to the bus",
    FaultKind.BUS: "Fault: the whole bus",
    FaultKind.PUBLISHER: "Fault: a publisher",
    FaultKind.LISTENER: "Fault: the listener (at Packit packit-service-fedmsg)",
    FaultKind.WORKERS: "Fault: the workers",
}


def render(
    connections: Mapping[str, ConnectionState],
    counts: Mapping[Series, Count],
    problems: Iterable[str],
    diagnosis: Diagnosis,
    retired: Sequence[RetiredTopic],
    now: float,
) -> str:
    """Return the page as HTML. `problems` are the lines of /ready; `now` is Unix time."""
    messages: Counter[tuple[str, str]] = Counter()
    for series, count in counts.items():
        messages[series.bus, series.outcome] += count.messages
    newest: dict[str, float] = {}
    for (bus, _), at in last_received(counts).items():
        newest[bus] = max(at, newest.get(bus, at))
    rows = (
        _row(bus, connection, [messages[bus, outcome] for outcome in Outcome], newest.get(bus), now)
        for bus, connection in connections.items()
    )
    not_ready = "\n".join(f'<p class="bad">{escape(problem)}</p>' for problem in problems)
    return PAGE.format(
        title="not ready" if not_ready else _title(diagnosis),
        version=escape(__version__),
        problems=not_ready,
        verdicts="\n".join([*_verdicts(diagnosis, now), *_not_configured(diagnosis)]),
        incidents=_incidents(diagnosis.incidents, now),
        now=format_time(now),
        outcomes="".join(f'<th class="number">{outcome.title()}</th>' for outcome in Outcome),
        rows="\n".join(rows),
        schemas=escape(schema_packages.describe()),
        retired=_retired(retired, now),
    )


def _title(diagnosis: Diagnosis) -> str:
    kind, lost = worst(diagnosis.verdicts.values()), sum(diagnosis.lost.values())
    return f"{VERDICTS[kind]}{_still_lost(lost) if kind is FaultKind.NONE else ''}"


def _still_lost(messages: int) -> str:
    return f" now, but {format_number(messages, 'message')} still lost" if messages else ""


def _verdicts(diagnosis: Diagnosis, now: float) -> Iterator[str]:
    for bus in diagnosis.verdicts:
        yield _verdict(bus, diagnosis, now)


def _not_configured(diagnosis: Diagnosis) -> Iterator[str]:
    for bus in sorted(diagnosis.lost.keys() - diagnosis.verdicts.keys()):
        lost = format_number(diagnosis.lost[bus], "message")
        text = escape(f"{bus}: no longer configured, but {lost} still lost")
        yield f'<p class="bad">{text}</p>'


def _verdict(bus: str, diagnosis: Diagnosis, now: float) -> str:
    verdict, lost = diagnosis.verdicts[bus], diagnosis.lost.get(bus, 0)
    text, kind = f"{bus}: {VERDICTS[verdict.kind]}", "bad"
    if verdict.kind is FaultKind.NONE:
        text, kind = text + _still_lost(lost), "bad" if lost else "good"
    elif verdict.since is not None:
        duration = format_duration(now - verdict.since)
        text += f", since {format_time(verdict.since)}, for {duration}"
    evidence = "\n".join(f"<li>{escape(line)}</li>" for line in verdict.evidence)
    return f'<p class="{kind}">{escape(text)}</p>\n<ul>\n{evidence}\n</ul>'


def _incidents(incidents: Sequence[Incident], now: float) -> str:
    if not incidents:
        return ""
    lines = "\n".join(f"<li>{escape(_incident(one, now))}</li>" for one in reversed(incidents))
    return f"<p>The last incidents, the newest first:</p>\n<ul>\n{lines}\n</ul>"


def _incident(one: Incident, now: float) -> str:
    why = "".join(f": {line}" for line in one.last_evidence[:1])
    return f"{times(one, now)}: {one.bus}: {one.kind}{why}"


def _row(
    bus: str, connection: ConnectionState, messages: Iterable[int], newest: float | None, now: float
) -> str:
    kind, state = ("good", "connected") if connection.connected else ("bad", "not connected")
    numbers = "".join(f'<td class="number">{number:,}</td>' for number in messages)
    return (
        f'<tr><th>{escape(bus)}</th><td class="{kind}">{state}</td>{numbers}'
        f"{_age(newest, now)}</tr>"
    )


def _retired(topics: Sequence[RetiredTopic], now: float) -> str:
    if not topics:
        return ""
    lines = "\n".join(f"<li>{escape(_retirement(*topic, now))}</li>" for topic in topics)
    return f"<p>Retired: these topics no longer have to come.</p>\n<ul>\n{lines}\n</ul>"


def _retirement(topic: Topic, since: float, last: float | None, now: float) -> str:
    text = f"{topic.bus}: {topic.name}, since {format_time(since)}"
    if last is None or last < since:
        return text
    return f"{text}; but its newest message came {format_age(now - last)}"


def _age(newest: float | None, now: float) -> str:
    if newest is None:
        return '<td class="number">none yet</td>'
    age = format_age(now - newest)
    return f'<td class="number" title="{format_time(newest)}">{age}</td>'
