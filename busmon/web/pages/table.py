"""The table of all pages, in the order of the navigation."""

from busmon.web.pages import overview
from busmon.web.pages.page import Page

PAGES = (Page("", "Overview", "overview.html", overview.data),)
