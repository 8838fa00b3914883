"""/gaps and its form, without a browser: what is missing, how to heal it, and who may accept it."""

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from wsgiref.types import WSGIApplication

import pytest
from prometheus_client import CollectorRegistry

from busmon.audit.acceptor import Acceptor
from busmon.ledger.batch import Observation, Series
from busmon.ledger.messages import MessageTrace
from busmon.ledger.open_messages import OpenMessage, State
from busmon.message import Stage
from busmon.settings.models import Web
from busmon.sources.listener_queue import ListenerQueue
from busmon.web.pages.gaps import GapFilter
from tests.support.diagnosis import Bench
from tests.support.open_gaps import FIRST, Place, accepting, leave_open, still_open
from tests.support.pages import pages, text_of
from tests.support.wsgi import Answer, ask, basic

LOGINS = {"alice": {"password": "a"}, "bob": {"password": "b"}}
OPERATED = Web.model_validate({"username": "me", "password": "reads", "operators": LOGINS})
ALICE, BOB, READER = basic("alice:a"), basic("bob:b"), basic("me:reads")
ONE = {"since": FIRST, "until": FIRST + 1, "bus": "fedora", "topic": "a", "stage": "listener"}
UUID = "4ad5a2c6-5f0b-4f4e-9a55-9d7e0f3f5b0e"
EVIL = "<script>alert('x')</script>\u202e"
FORM = "application/x-www-form-urlencoded"


class Gapped(Bench):
    """A service with open gaps, and its pages."""

    def __init__(self, *places: tuple[Place, int], path: str = ":memory:", **web: str) -> None:
        super().__init__(now=FIRST + 86400, path=path)
        for place, number in places:
            leave_open(self.ledger, place, number)
            series = Series(place.bus, place.topic, "handled", "")
            self.ledger.record([Observation(series, f"{place}", FIRST)])
        self.auditor.refresh()
        self.refresh()
        self.registry = CollectorRegistry()
        self.acceptor = Acceptor(self.ledger, self.auditor.refresh)
        self.app = pages(
            self, OPERATED.model_copy(update=web), registry=self.registry, acceptor=self.acceptor
        )

    def get(self, path: str, who: str | None = READER, **query: Any) -> Answer:
        return ask(self.app, path, query=urlencode(query), HTTP_AUTHORIZATION=who)

    def data(self, **query: Any) -> Any:
        return json.loads(self.get("/v1/gaps", **query).body)

    def token(self, who: str) -> str:
        page = self.get("/gaps/accept", who, **ONE).body.decode()
        found = re.search(r'name="token" value="(\w+)"', page)
        assert found
        return found[1]

    def accept(self, who: str | None, fields: dict[str, Any], **environ: str | None) -> Answer:
        body = urlencode(fields).encode()
        usual: dict[str, Any] = {"CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": FORM}
        usual |= {"HTTP_AUTHORIZATION": who}
        return ask(self.app, "/gaps/accept", "POST", body=body, **usual | environ)

    def refused(self, reason: str) -> float | None:
        name = "busmon_web_refused_requests_total"
        return self.registry.get_sample_value(name, {"reason": reason})

    @contextmanager
    def working(self) -> Iterator[None]:
        with accepting(self.acceptor):
            yield


def test_open_gaps_are_listed_by_place_and_window_with_their_messages() -> None:
    bench = Gapped((Place(), 25), (Place(window=2, topic="b", stage=Stage.WORKER), 1))
    data = bench.data()
    assert [(one["topic"], one["messages"]) for one in data["places"]] == [("a", 25), ("b", 1)]
    newest, oldest = data["windows"]
    assert (newest["start"], newest["stage"], newest["number"]) == (FIRST + 600, "worker", 1)
    assert (oldest["number"], len(oldest["messages"])) == (25, 20)
    text = text_of(bench.get("/gaps").body)
    assert "fedora listener a 25 1 2026-03-01 14:05 24 h accept…" in text
    assert "busmon gaps --bus fedora --topic a --format ids" in text
    assert "Start the workers before" in text
    only = bench.data(topic="b", stage="worker", bus="fedora")
    assert [[one["topic"] for one in only[part]] for part in ("places", "windows")] == [["b"]] * 2
    none = text_of(bench.get("/gaps", topic="a", stage="handlers").body)
    assert "None of these messages is known to be missing." in none


@pytest.mark.parametrize("state", GapFilter)
def test_a_bus_or_topic_that_is_unknown_is_said_whatever_is_listed(state: str) -> None:
    bench = Gapped((Place(), 1))
    for query, status, words in (
        ({"bus": "fedroa"}, "404", "no such bus: fedroa; known buses: fedora"),
        ({"topic": "b"}, "404", "no message of this topic was counted: b"),
        ({"stage": "bus"}, "400", "stage: should be one of listener, worker, handlers"),
    ):
        answer = bench.get("/gaps", state=state, **query)
        assert answer.status.startswith(status)
        assert words in text_of(answer.body)


@pytest.mark.parametrize("state", [State.MISSING, State.UNCONFIRMED, State.RECOVERED])
def test_windows_and_places_are_selected_whatever_is_listed(state: State) -> None:
    all_places = list(product(("centos", "fedora"), "ab", (Stage.LISTENER, Stage.WORKER)))
    bench = Gapped(*((Place(0, *place, state), 1) for place in all_places))
    names, shown = ("bus", "topic", "stage"), "open" if state is State.MISSING else state
    for asked in product((None, "fedora"), (None, "b"), (None, Stage.WORKER)):
        query = {name: value for name, value in zip(names, asked, strict=True) if value}
        data = bench.data(state=shown, **query)
        parts = ("windows", "places") if state is State.MISSING else ("windows",)
        for part in parts:
            assert sorted(tuple(one[name] for name in names) for one in data[part]) == [
                place
                for place in all_places
                if all(one in {None, of} for one, of in zip(asked, place, strict=True))
            ]
        if state is State.UNCONFIRMED:
            of_all_topics = text_of(bench.get("/gaps", **query).body).count(
                ", of all topics. Absence"
            )
            assert of_all_topics == ("topic" in query)


class Archived:
    """A bus whose messages are in an archive."""

    def reconsume_command(self) -> str:
        return "fedora-messaging reconsume"

    def listener_queue(self) -> ListenerQueue:
        return ListenerQueue.PERMANENT


@pytest.fixture
def archived() -> WSGIApplication:
    """Pages that list two messages, which are no longer on record."""
    bench = Bench(now=FIRST + 86400)
    with bench.ledger.write() as tables:
        place = FIRST, FIRST + 300, "fedora", Stage.LISTENER, State.MISSING
        traces = (MessageTrace(one, "a", True, received_at=FIRST + 9) for one in (UUID, "no/uuid"))
        tables.open_messages.add(OpenMessage(*place, trace) for trace in traces)
    return pages(bench, buses={"fedora": Archived()})


def test_a_message_is_linked_and_has_the_command_that_heals_its_gap(
    archived: WSGIApplication,
) -> None:
    page = ask(archived, "/gaps").body
    assert f'<a href="/messages/fedora/{UUID}">' in page.decode()
    assert '<a href="/messages/fedora/no%2Fuuid">' in page.decode()
    text = text_of(page)
    assert f"fedora-messaging reconsume {UUID}" in text
    assert "no/uuid : not a UUID" in text


def test_a_missing_message_has_a_page_after_its_record_is_pruned(archived: WSGIApplication) -> None:
    text = text_of(ask(archived, f"/messages/fedora/{UUID}").body)
    assert "a on fedora Its way received 2026-03-01 14:05:09 UTC; its record is pruned" in text
    assert "audit missing at the listener in the window that began 2026-03-01 14:05:00" in text
    assert "judged None" not in text
    assert f"fedora-messaging reconsume {UUID}" in text
    assert ask(archived, f"/messages/centos/{UUID}").status == "404 Not Found"


def test_a_command_to_copy_runs_nothing_that_is_in_the_name_of_a_topic() -> None:
    text = text_of(Gapped((Place(topic="a;$(reboot)'"), 21)).get("/gaps").body)
    command = re.search("busmon gaps --bus fedora --topic (.*) --format ids", text)
    assert command
    assert shlex.split(command[1]) == ["a;$(reboot)'"]


def test_more_windows_than_a_page_has_are_on_the_next_one() -> None:
    bench = Gapped(*((Place(window=n), 1) for n in range(53)))
    first = bench.data()
    assert [len(first["windows"]), first["older"]] == [50, FIRST + 2 * 300]
    second = bench.data(until=first["older"])
    assert [one["start"] for one in second["windows"]] == [FIRST + 600, FIRST + 300, FIRST]
    assert second["older"] is None
    assert "Older windows" in text_of(bench.get("/gaps").body)


@pytest.mark.parametrize("state", [State.UNCONFIRMED, State.RECOVERED])
def test_what_is_no_open_gap_is_shown_on_request(state: State) -> None:
    bench = Gapped((Place(state=state), 3), (Place(window=1, state=state), 2), (Place(), 1))
    windows = bench.data(state=state)["windows"]
    assert [(one["start"], one["number"]) for one in windows] == [(FIRST + 300, 2), (FIRST, 3)]
    assert f"{state.capitalize()}, by window" in text_of(bench.get("/gaps", state=state).body)


def test_an_operator_accepts_a_gap_with_a_reason() -> None:
    bench = Gapped((Place(), 2), (Place(window=1), 1))
    form = text_of(bench.get("/gaps/accept", ALICE, **ONE).body)
    assert "You, alice, say that 2 missing messages of the window from 2026-03-01 14:05:00" in form
    with bench.working():
        done = bench.accept(ALICE, ONE | {"token": bench.token(ALICE), "reason": f" {EVIL[:-1]} "})
    assert (done.status, done.headers["Location"]) == ("303 See Other", "/gaps?state=accepted")
    assert still_open(bench.ledger) == {Place(window=1): 1}
    [accepted] = bench.data()["acceptances"]
    assert (accepted["who"], accepted["reason"], accepted["messages"]) == ("alice", EVIL[:-1], 2)
    page = bench.get("/gaps", state="accepted").body.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize("host", ["workers.example", "Workers.Example:443"])
def test_behind_a_proxy_that_changes_the_host_the_form_still_works(host: str) -> None:
    bench = Gapped((Place(), 1), public_url=f"https://{host}/busmon")
    proxied = {"HTTP_HOST": "busmon:12876", "HTTP_ORIGIN": "https://workers.example"}
    with bench.working():
        done = bench.accept(ALICE, ONE | {"token": bench.token(ALICE), "reason": "x"}, **proxied)
    assert done.headers["Location"] == "/busmon/gaps?state=accepted"


@pytest.mark.parametrize(
    ("who", "status", "counted"),
    [(None, 401, "login"), (READER, 401, "login"), (basic("alice:b"), 401, "login")],
)
def test_only_an_operator_gets_the_form(who: str | None, status: int, counted: str) -> None:
    bench = Gapped((Place(), 1))
    answer = bench.get("/gaps/accept", who, **ONE)
    assert answer.status.startswith(str(status))
    assert "Basic" in answer.headers["WWW-Authenticate"], "the browser asks for another login"
    assert answer.headers["Content-Type"].startswith("text/html") == (who == READER)
    assert bench.refused(counted) == 1


REFUSALS: list[tuple[str | None, dict[str, Any], dict[str, str | None], int, str | None]] = [
    (None, {}, {}, 401, "login"),
    (READER, {}, {}, 403, "read-only"),
    (BOB, {}, {}, 403, "cross-site"),  # the token is alice's
    (ALICE, {"token": ""}, {}, 403, "cross-site"),
    (ALICE, {"token": "é"}, {}, 403, "cross-site"),
    (ALICE, {}, {"HTTP_SEC_FETCH_SITE": "cross-site"}, 403, "cross-site"),
    (ALICE, {}, {"HTTP_SEC_FETCH_SITE": "same-site"}, 403, "cross-site"),
    (ALICE, {}, {"HTTP_ORIGIN": "https://evil.example"}, 403, "cross-site"),
    (ALICE, {}, {"HTTP_ORIGIN": "null"}, 403, "cross-site"),
    (ALICE, {}, {"CONTENT_TYPE": "text/plain"}, 415, "type"),
    (ALICE, {}, {"CONTENT_LENGTH": "99999"}, 413, "size"),
    (ALICE, {"since": "never"}, {}, 400, "malformed"),
    (ALICE, {"until": FIRST}, {}, 400, "malformed"),
    (ALICE, {"stage": "moon"}, {}, 400, "malformed"),
    (ALICE, {str(n): n for n in range(20)}, {}, 400, "malformed"),
    (ALICE, {"reason": " "}, {}, 400, None),  # the form again
    (ALICE, {"reason": "x" * 501}, {}, 400, None),
    (ALICE, {"reason": "two\nlines"}, {}, 400, None),
    (ALICE, {"topic": "other"}, {}, 409, None),
]


@pytest.mark.parametrize(("who", "fields", "environ", "status", "reason"), REFUSALS)
def test_whatever_is_not_the_form_of_an_operator_accepts_nothing(
    who: str | None,
    fields: dict[str, Any],
    environ: dict[str, str | None],
    status: int,
    reason: str | None,
) -> None:
    bench = Gapped((Place(), 1))
    good = ONE | {"token": bench.token(ALICE), "reason": "purged"}
    answer = bench.accept(who, good | fields, **environ)
    assert answer.status.startswith(str(status))
    assert who is None or answer.headers["Content-Type"].startswith("text/html")
    assert still_open(bench.ledger).total() == 1
    assert reason is None or bench.refused(reason) == 1


def test_a_ledger_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    bench = Gapped(path=str(tmp_path / "ledger.sqlite"))
    (tmp_path / "ledger.sqlite").unlink()
    answer = bench.get("/gaps")
    assert answer.status == "503 Service Unavailable"
    assert "no such ledger" in text_of(answer.body)
    assert bench.refused("ledger") == 1
    bench.ledger.close()


def test_without_an_operator_nothing_can_be_accepted() -> None:
    bench = Gapped((Place(), 1))
    app = pages(bench)
    assert "accept…" not in text_of(ask(app, "/gaps").body)
    refused = ask(app, "/gaps/accept", query=urlencode(ONE))
    assert refused.status == "403 Forbidden"
    assert "there is no operator: configure a login" in text_of(refused.body)
