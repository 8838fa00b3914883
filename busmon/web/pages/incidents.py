"""/incidents: when all was not well, with the evidence and what was lost; as Markdown, too."""

from busmon.commands.gaps import NothingToAskOf
from busmon.commands.incidents import Incidents, IncidentsQuery, find_incidents
from busmon.commands.incidents_output import as_dict, as_markdown, consequences
from busmon.diagnosis.incident_text import WHAT, length, times
from busmon.web.pages import values
from busmon.web.pages.page import NotFound, Request

DAY_SECONDS = 86400
MAX_DAYS = 400  # incidents are kept for 13 months
MAX_SHOWN = 100


def data(request: Request) -> dict[str, object]:
    """Return the incidents, the newest first, and what is still lost."""
    found = _find(request)
    shown = found.found[: -MAX_SHOWN - 1 : -1]
    return {
        "since": found.query.since,
        "days": _days(request),
        "bus": found.query.bus,
        "buses": sorted(request.service.parts.connections),
        "number": len(found.found),
        "incidents": [
            {
                **as_dict(one, request.now),
                "meaning": WHAT.get(one.incident.kind, one.incident.kind),
                "times": times(one.incident, request.now),
                "length": length(one.incident, request.now),
                "consequences": list(consequences(one)),
            }
            for one in shown
        ],
        "still_lost": [lost._asdict() for lost in found.still_lost],
    }


def markdown(request: Request) -> str:
    """Return a report for a post-mortem."""
    return as_markdown(_find(request))


def _find(request: Request) -> Incidents:
    since = request.now - _days(request) * DAY_SECONDS
    query = IncidentsQuery(since, request.now, values.text(request, "bus"))
    try:
        with request.read() as tables:
            return find_incidents(tables, query, request.service.config)
    except NothingToAskOf as error:
        raise NotFound(str(error)) from None


def _days(request: Request) -> int:
    return values.number(request, "days", 7, 1, MAX_DAYS)
