"""Links to busmon's pages, and between the dashboards."""

from grafana_foundation_sdk.builders.dashboard import DashboardLink
from grafana_foundation_sdk.models.dashboard import DashboardLinkType


def page(title: str, path: str = "", **query: str) -> DashboardLink:
    """Return a link to a page of busmon."""
    parameters = "&".join(f"{name}={value}" for name, value in query.items())
    return (
        DashboardLink(title)
        .type(DashboardLinkType.LINK)
        .url(f"${{pages:raw}}/{path}{'?' if query else ''}{parameters}")
        .target_blank(True)
    )


def dashboard(title: str, uid: str) -> DashboardLink:
    """Return a link to a dashboard, with the same variables and time."""
    return (
        DashboardLink(title)
        .type(DashboardLinkType.LINK)
        .icon("dashboard")
        .url(f"/d/{uid}")
        .include_vars(True)
        .keep_time(True)
    )


def label(name: str) -> str:
    """Return what a link says for a label of the series that was clicked."""
    return f"${{__field.labels.{name}:percentencode}}"


def column(name: str) -> str:
    """Return what a link says for a column of the row that was clicked."""
    return f"${{__data.fields.{name}:percentencode}}"


def topic_page(bus: str = label("bus"), topic: str = label("topic")) -> DashboardLink:
    """Return the link to the page of a topic."""
    return page("busmon: this topic", f"topics/{bus}/{topic}")


def topics_page(**query: str) -> DashboardLink:
    """Return the link to the page of the topics of the bus that was clicked."""
    return page("busmon: topics of this bus", "topics", bus=label("bus"), **query)


def gaps_page(*labels: str, **query: str) -> DashboardLink:
    """Return the link to the page of the gaps that have these labels of what was clicked."""
    return page("busmon: these gaps", "gaps", **{name: label(name) for name in labels}, **query)


def incidents_page() -> DashboardLink:
    """Return the link to the page of the incidents of the bus that was clicked."""
    return page("busmon: incidents of this bus", "incidents", bus=label("bus"))


OVERVIEW = page("busmon: overview")
