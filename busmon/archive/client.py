"""Asks a Datagrepper, 1.0 and later, with `GET /v2/search`.

It answers with the number of all messages that match (`total`), and with up to 100 of them. This
never asks for a second page: a page is an offset into messages that are ordered by a time in
whole seconds, so pages lose messages. Both ends of a time belong to it. The time of a message is
that at which its publisher sent it, by the publisher's clock.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import Annotated, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from busmon import __version__
from busmon.http_client import AnswerTooLong, TimedConnection
from busmon.settings.archive import Archive
from busmon.tls import UnusableFile, client_context

TIMEOUT = 30.0  # seconds to connect and to answer; Fedora's gives a request up after 60
MAX_ANSWER_BYTES = 4 * 1024**2  # with the bodies of up to 100 messages, of 0.2 to 25 kB each
MAX_ROWS = 100
NO_LIMIT = 0  # of rows; for a single second, after its total
MAX_MESSAGES = 5000  # of an answer without a limit
MAX_TOTAL = 10**9  # far more than any bus has in an hour
ALIVE_SECONDS = 600  # an archive that is up to date has a message of the last ten minutes
SETTLED_SECONDS = 300  # it stores messages in about the order of their times, and some time later
AHEAD_SECONDS = 60  # by which the clock of a publisher may be
FRESH_SECONDS = 60.0  # for which it is used how far the archive has come
MOMENT = 1e-6  # seconds, the least that Datagrepper distinguishes


class Unanswered(Exception):
    """The archive gave no valid answer; the text says what happened."""


class TooMuch(Unanswered):
    """The answer is too long: ask for less."""


class Stored(NamedTuple):
    """A message in the archive."""

    id: str
    topic: str
    sent_at: float | None  # Unix time; None: the archive has it by the time when it came there
    content: bytes = b""  # all of it, as JSON, if that was asked for


class Found(NamedTuple):
    """How many messages match, and the first ones of them."""

    total: int
    messages: list[Stored]


class _Headers(msgspec.Struct):
    sent_at: str | None = msgspec.field(name="sent-at", default=None)


class _Message(msgspec.Struct):
    id: str
    topic: str
    headers: _Headers


class _Answer(msgspec.Struct):  # the bodies, and all else, are skipped when it is decoded
    total: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOTAL)]
    raw_messages: Annotated[list[_Message], msgspec.Meta(max_length=MAX_MESSAGES)]


class _WholeAnswer(msgspec.Struct):
    total: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOTAL)]
    raw_messages: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_MESSAGES)]


class Datagrepper:
    """The archive at the URL of these settings. It keeps no connection and no cookie."""

    def __init__(self, settings: Archive, timeout: float = TIMEOUT) -> None:
        self.name = settings.url
        self._timeout = timeout
        archive = urlsplit(settings.url)
        self._tls = archive.scheme == "https"
        self._server = archive.hostname or "", archive.port or (443 if self._tls else 80)
        self._path = archive.path.rstrip("/")
        self._tunnel: tuple[str, int] | None = None
        if settings.proxy:
            parts = urlsplit(settings.proxy)
            proxy = parts.hostname or "", parts.port or 80
            if self._tls:
                self._tunnel = proxy
            else:  # without a tunnel, the proxy is asked for a whole URL
                self._server = proxy
                self._path = f"http://{archive.netloc}{self._path}"
        self._ca = settings.ca
        self._headers = {
            "Host": archive.netloc,
            "Accept": "application/json",
            "User-Agent": f"busmon/{__version__} ({settings.contact})",
        }
        self._asking: TimedConnection | None = None
        self._asked_at, self._newest = float("-inf"), 0.0  # its newest message, and when asked for

    def search(
        self,
        topics: Collection[str],
        since: int,
        until: int,
        rows: int = MAX_ROWS,
        *,
        oldest_first: bool = False,
        content: bool = False,
    ) -> Found:
        """Return what was sent from `since` on and before `until`, Unix times, newest first.

        Both are above 0. No `topics`: of every topic. With `content`, all of each message is
        returned. Raises Unanswered.
        """
        query: list[tuple[str, str | int]] = [
            ("start", since),  # 0 would be taken for none
            ("end", f"{until - MOMENT:.6f}"),
            ("rows_per_page", rows),
            ("order", "asc" if oldest_first else "desc"),
            *(("topic", topic) for topic in topics),
        ]
        found = parse(self._get(f"/v2/search?{urlencode(query)}"), content=content)
        _check(found, topics, (since, until), rows)
        return found

    def settled(self, now: float) -> float | None:
        """Return the Unix time before which it has all messages; None: `ask_settled` first."""
        if not 0 <= now - self._asked_at < FRESH_SECONDS:
            return None
        return min(now, self._newest) - SETTLED_SECONDS

    def ask_settled(self, now: float) -> float:
        """Send a request, and return the Unix time before which it has all messages.

        Raises Unanswered, also if it has no recent message.
        """
        since, until = int(now) - ALIVE_SECONDS, int(now) + AHEAD_SECONDS
        found = self.search([], since, until, rows=1)
        newest = found.messages[0].sent_at if found.messages else None
        if newest is None:
            raise Unanswered("has no message of the last ten minutes, so it is not up to date")
        self._asked_at, self._newest = now, newest
        return min(now, newest) - SETTLED_SECONDS

    def message(self, message_id: str) -> bytes | None:
        """Return a message as JSON, with its body and headers; None if there is no such message.

        Raises Unanswered.
        """
        return self._ask(f"/v2/id?{urlencode({'id': message_id, 'is_raw': 'true'})}")

    def abort(self) -> None:
        """End the request in progress, from any thread. It raises Unanswered."""
        if asking := self._asking:
            asking.abort()

    def _get(self, path: str) -> bytes:
        if (body := self._ask(path)) is None:
            raise Unanswered("answers with status 404")
        return body

    def _ask(self, path: str) -> bytes | None:
        """Return an answer; None if Datagrepper itself says that there is no such thing."""
        try:
            with self._connection() as connection:
                self._asking = connection
                connection.request("GET", f"{self._path}{path}", headers=self._headers)
                response = connection.getresponse()
                body = response.read()
        except AnswerTooLong as error:
            raise TooMuch(f"the answer has more than {MAX_ANSWER_BYTES >> 20} MiB") from error
        except UnusableFile as error:
            raise Unanswered(error.why) from error
        except (OSError, HTTPException, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise Unanswered(f"no answer: {why}") from error
        if response.status == HTTPStatus.NOT_FOUND and _is_not_found(body):
            return None
        if response.status != HTTPStatus.OK:
            raise Unanswered(f"answers with status {response.status}")
        return body

    def _connection(self) -> TimedConnection:
        tls = client_context(self._ca, None, None) if self._tls else None
        connection = TimedConnection(*self._server, tls, self._timeout, MAX_ANSWER_BYTES)
        connection.tunnel = self._tunnel
        return connection


def parse(body: bytes, *, content: bool = False) -> Found:
    """Return an answer; raises Unanswered if it is not that of a Datagrepper."""
    try:
        if content:
            whole = msgspec.json.decode(body, type=_WholeAnswer)
            messages = [_stored(bytes(one)) for one in whole.raw_messages]
            return Found(whole.total, messages)
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unanswered("does not answer as Datagrepper does") from error
    messages = [Stored(m.id, m.topic, _sent_at(m.headers.sent_at)) for m in answer.raw_messages]
    return Found(answer.total, messages)


def _stored(content: bytes) -> Stored:
    """Return a message with all of its content. Raises msgspec's error."""
    message = msgspec.json.decode(content, type=_Message)
    return Stored(message.id, message.topic, _sent_at(message.headers.sent_at), content)


def _is_not_found(body: bytes) -> bool:
    """Return whether this says that there is no such message; a wrong URL is answered by HTML."""
    try:
        return bool(msgspec.json.decode(body) == {"error": "not_found"})
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _sent_at(text: str | None) -> float | None:
    """Return a time as fedora-messaging writes it; Datagrepper takes one without a zone as UTC."""
    try:
        moment = datetime.fromisoformat(text or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _check(found: Found, topics: Collection[str], span: tuple[int, int], rows: int) -> None:
    """Raise Unanswered if this is no answer to what was asked."""
    since, until = span
    if len(found.messages) != min(found.total, rows or found.total):
        raise Unanswered(
            f"has {found.total} messages, but answers with {len(found.messages)} of them"
        )
    for message in found.messages:
        if topics and message.topic not in topics:
            raise Unanswered("answers with messages of another topic")
        if message.sent_at is not None and not since <= message.sent_at < until:
            raise Unanswered("answers with messages of another time")
