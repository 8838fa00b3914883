"""`busmon trace` with an archive: on a real Datagrepper, and on what answers anything else."""

import json
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from busmon.text import format_time
from tests.archive.test_client import answering, body
from tests.support.brokers import free_port
from tests.support.command import Ended, busmon
from tests.support.datagrepper import Datagrepper, Sent
from tests.support.past import BUS, IDS, TOPIC, Past

SENT = 1_790_553_600.0


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    past = Past(tmp_path)
    with closing(past.ledger):
        yield past


def trace(past: Past, archive: str, *words: str, status: int = 1) -> Ended:
    config = Path(past.path).with_name("busmon.toml")
    config.write_text(
        '[ledger]\npath = "ledger.sqlite"\n[buses.fedora]\nrules = "packit"\ntype = "replay"\n'
        f'files = ["busmon.toml"]\n[archive]\nbus = "fedora"\nurl = "{archive}"\ncontact = "me@x"\n'
    )
    return busmon("trace", "-c", config, *words, status=status)


@pytest.mark.parametrize(
    ("user", "judged"), [("packit", "handled"), ("xy", "ignored not-packit-user")]
)
def test_what_busmon_missed_is_looked_up_and_judged_but_not_shown(
    past: Past, datagrepper: Datagrepper, user: str, judged: str
) -> None:
    missed, url = str(uuid4()), datagrepper.url
    datagrepper.add([Sent(missed, TOPIC, SENT, {"user": user, "build": "a-secret"})])
    command = f"fedora-messaging reconsume --datagrepper-url {url} {missed}"
    again = command if user == "packit" else None
    page = f"{url}/v2/id?id={missed}&is_raw=true&size=extra-large"
    assert trace(past, url, missed).stdout == (
        f"{missed}: not on record; the ledger holds no message yet\n"
        f"  bus       fedora\n  topic     {TOPIC}\n"
        "  received  not by busmon, but the archive has it\n"
        f"  sent      {format_time(SENT)}, by its publisher's clock\n"
        f"  judged    {judged}, by the rules as they are now\n"
        f"  archive   {page}\n" + (f"  again     {again}\n" if again else "")
    )
    [found] = json.loads(trace(past, url, missed, "--json").stdout)
    outcome, _, reason = judged.partition(" ")
    assert found == {
        "bus": BUS,
        "topic": TOPIC,
        "outcome": outcome,
        "reason": reason,
        "sent_at": SENT,
        "received_at": None,
        "page": page,
        "reconsume": again,
    }
    past.report(missed)  # only the tap has seen it
    blocks = trace(past, url, missed, status=0).stdout.split("\n\n")
    assert [f"  archive   {page}\n" in f"{block}\n" for block in blocks] == [True, True]


def test_what_the_archive_does_not_have_is_said_so(past: Past, datagrepper: Datagrepper) -> None:
    text = trace(past, datagrepper.url, str(uuid4())).stdout
    assert text.endswith("\n  archive   does not have it\n")


def record(identity: str, **other: object) -> bytes:
    return msgspec.json.encode({"id": identity, "topic": "t", "headers": {}, "body": {}} | other)


SHAPE = "does not answer as Datagrepper does, or the message is too large"


@pytest.mark.parametrize(
    ("content", "status", "problem"),
    [
        (b"<html>", 404, "answers with status 404"),
        (b'{"error": "internal_error"}', 500, "answers with status 500"),
        (b"", 200, SHAPE),
        (b"<html>", 200, SHAPE),
        (b"[" * 100_000, 200, SHAPE),
        (record(IDS[1]), 200, SHAPE),
        (record(IDS[0], headers=[]), 200, SHAPE),
        (record(IDS[0], topic=3), 200, SHAPE),
        (record(IDS[0], body="x" * 3_000_000), 200, SHAPE),
        (b" " * 5_000_000, 200, "the answer has more than 4 MiB"),
    ],
)
def test_any_other_answer_is_one_line_and_the_status_stays(
    past: Past, content: bytes, status: int, problem: str
) -> None:
    with answering(body(content, status)) as url:
        assert trace(past, url, IDS[0]).stdout.endswith(f"\n  archive   {url}: {problem}\n")
        as_json = trace(past, url, IDS[0], "--json")
    assert (as_json.stdout, as_json.stderr) == ("[]\n", f"busmon: archive: {url}: {problem}\n")


def test_hostile_topics_and_headers_are_shown_on_one_line(past: Past) -> None:
    content = record(IDS[0], topic="\x1b[31m\n", headers={"sent-at": "\x1b"}, body=[1])
    with answering(body(b"\n" + content)) as url:
        text = trace(past, url, IDS[0]).stdout
    assert "  topic     \\x1b[31m\\n\n" in text
    assert "  sent      at a time that is not known, by its publisher's clock\n" in text
    assert "  judged    invalid not-object, by" in text


def test_the_archive_is_asked_only_for_uuids_that_busmon_did_not_receive(past: Past) -> None:
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        body(b'{"error": "not_found"}', 404)(request)

    past.receive(IDS[0], after=1)
    with answering(answer) as url:
        page = f"  archive   {url}/v2/id?id={IDS[0]}&is_raw=true&size=extra-large\n"
        assert trace(past, url, IDS[0], status=0).stdout.endswith(page)
        assert trace(past, url, "1").stdout.endswith(
            "\n  archive   not asked, because the id is not a UUID\n"
        )
        assert "archive" not in trace(past, url, IDS[1], "--no-archive").stdout
        assert asked == []
        trace(past, url, IDS[1])
    assert asked == [f"/v2/id?id={IDS[1]}&is_raw=true"]


def test_a_message_that_is_missing_has_the_command_to_consume_it_again(past: Past) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    past.watch(-100, 100)
    for identity in (IDS[0], "no-uuid"):
        past.receive(identity, after=1)
    assert "  again  " not in trace(past, url, IDS[0], status=0).stdout
    past.close(40)
    command = f"fedora-messaging reconsume --datagrepper-url {url} {IDS[0]}"
    assert f"  again     {command}\n" in trace(past, url, IDS[0], status=0).stdout
    [found] = json.loads(trace(past, url, IDS[0], "--json", status=0).stdout)
    assert found["reconsume"] == command
    assert "  again     not a UUID, so `fedora" in trace(past, url, "no-uuid", status=0).stdout
    fedora = trace(past, "https://apps.fedoraproject.org/datagrepper/", IDS[0], status=0).stdout
    assert f"  again     fedora-messaging reconsume {IDS[0]}\n" in fedora
