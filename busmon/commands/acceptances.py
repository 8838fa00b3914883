"""`busmon gaps accept`, `reopen` and `accepted`: what people have accepted.

The running service accepts and reopens: nothing else writes to its ledger.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from busmon.commands.endpoint import FOREIGN, Endpoint, NoAnswer, login, post
from busmon.ledger.acceptances import Acceptance, describe
from busmon.text import format_number, format_time, printable


@dataclass(frozen=True, slots=True)
class Done:
    """What the service did."""

    number: int | None  # of the acceptance; None: there was nothing to accept
    messages: int = 0
    unconfirmed: int = 0
    windows: int = 0
    forgotten: int = 0  # messages that cannot be reopened: they are no longer on record
    finished: bool = True  # False: the rest follows

    def __str__(self) -> str:
        """Return how many messages of how many windows it were."""
        return _amount(self.messages, self.unconfirmed, self.windows)


def operated_by(endpoint: Endpoint, name: str, password: str) -> Endpoint:
    """Return the endpoint with an operator's login."""
    return replace(endpoint, headers=login(name, password))


def accept(endpoint: Endpoint, selection: Mapping[str, object], reason: str) -> Done:
    """Have open gaps accepted; raises NoAnswer and Refused.

    The selection has the fields of `ledger.acceptances.Selection`.
    """
    return _ask(endpoint, "/v1/gaps/accept", {**selection, "reason": reason})


def reopen(endpoint: Endpoint, number: int) -> Done:
    """Have the gaps of an acceptance reopened; raises NoAnswer and Refused."""
    return _ask(endpoint, "/v1/gaps/reopen", {"acceptance": number})


def _ask(endpoint: Endpoint, path: str, content: object) -> Done:
    body = post(endpoint, path, content)
    try:
        return msgspec.json.decode(body, type=Done)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NoAnswer(FOREIGN, asked=True) from error


def as_text(found: Sequence[Acceptance]) -> str:
    """Return acceptances for people to read."""
    return "\n".join(line for one in found for line in _lines(one)) or "Nothing was accepted."


def _lines(one: Acceptance) -> Iterator[str]:
    amount = _amount(one.messages, one.unconfirmed, one.windows)
    yield f"{one.number}  {format_time(one.accepted_at)}  {printable(one.who)}  {amount}"
    yield f"    {describe(one.selection)}"
    yield f"    {printable(one.reason)}"
    if one.reverted_at is not None:
        by = printable(one.reverted_by or "")
        yield f"    reopened {format_time(one.reverted_at)} by {by}"
    if one.pending:
        yield "    not complete yet"


def as_json(found: Sequence[Acceptance]) -> str:
    """Return acceptances as a JSON array."""
    return json.dumps(as_dicts(found), indent=2)


def as_dicts(found: Sequence[Acceptance]) -> list[dict[str, Any]]:
    """Return acceptances for JSON; Unix times."""
    return [one._asdict() | {"selection": one.selection._asdict()} for one in found]


def _amount(messages: int, unconfirmed: int, windows: int) -> str:
    more = f" and {format_number(unconfirmed, 'unconfirmed message')}" if unconfirmed else ""
    return f"{format_number(messages, 'message')}{more} of {format_number(windows, 'window')}"
