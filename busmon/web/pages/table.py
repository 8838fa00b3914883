"""The table of all pages, in the order of the navigation."""

from busmon.web.pages import commands, gaps, incidents, message, messages, overview, topic, topics
from busmon.web.pages.page import Page

PAGES = (
    Page("", "Overview", "overview.html", overview.data),
    Page("topics", "Topics", "topics.html", topics.data),
    Page("topics", "Topic", "topic.html", topic.data, has_rest=True, in_navigation=False),
    Page("messages", "Messages", "messages.html", messages.data),
    Page("messages", "Message", "message.html", message.data, has_rest=True, in_navigation=False),
    Page("gaps", "Gaps", "gaps.html", gaps.data),
    Page("incidents", "Incidents", "incidents.html", incidents.data, markdown=incidents.markdown),
    Page("commands", "Commands", "", commands.data, has_rest=True, in_navigation=False),
)
