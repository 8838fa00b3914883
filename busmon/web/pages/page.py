"""What a page is made of: a template over data that JSON can hold, and what it asks the service."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from busmon.audit.acceptor import Acceptor
from busmon.config.model import Config
from busmon.diagnosis.bus import Parts
from busmon.diagnosis.watcher import Diagnosis, VerdictWatcher
from busmon.ledger.tables import Tables
from busmon.message import Topic
from busmon.silence.state import SilenceState

QUERY_SECONDS = 1.0  # for what one page reads from the ledger


class NotFound(Exception):
    """There is nothing of this name; the text says of which."""


class Malformed(Exception):
    """The request makes no sense; the text says why."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The parts of the service that the pages show. All but the ledger is in memory."""

    config: Config
    parts: Parts
    verdicts: VerdictWatcher
    acceptor: Acceptor
    problems: Callable[[], Sequence[str]]  # a line for each reason for which busmon is not ready
    query_seconds: float = QUERY_SECONDS


@dataclass(frozen=True)
class Request:
    """What is asked of a page; what the service has found is found once for all of the answer."""

    rest: str  # of the path, after that of the page: "fedora/a.topic"; it can be anything
    query: Mapping[str, str]  # of a bounded length; the values can be anything
    now: float  # Unix time
    service: Shown

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """The verdicts, the last incidents and the open gaps."""
        return self.service.verdicts.diagnosis()

    @cached_property
    def silence(self) -> Mapping[Topic, SilenceState]:
        """The state of every topic."""
        return self.service.parts.silence.states(self.now)

    @contextmanager
    def read(self) -> Iterator[Tables]:
        """Yield the tables of the ledger, read by a connection of the page's own.

        Beside recording, which does not wait for it. Raises TooSlow after `query_seconds`, and
        LedgerError. So let each query use an index, and have a limit.
        """
        with self.service.parts.ledger.read(self.service.query_seconds) as tables:
            yield tables


class Page(NamedTuple):
    """A page: `/PATH` is its template over its data, `/v1/PATH` is its data as JSON.

    `data` returns what JSON can hold: texts, numbers, booleans, None, lists and mappings. It
    raises NotFound and Malformed. A template gets the keys of the data as its variables; every one
    also has `page`, `pages`, `now`, `worst` and `icon`.
    """

    path: str  # the first segment; "" for the first page
    title: str
    template: str  # a file in web/templates; "": there is only the data
    data: Callable[[Request], Mapping[str, object]]
    has_rest: bool = False  # it is what is below the path; another page can be the path itself
    markdown: Callable[[Request], str] | None = None  # at /PATH.md, if there is one
    in_navigation: bool = True
