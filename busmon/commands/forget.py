"""`busmon forget`: has the running service, which alone writes to its ledger, forget an owner."""

import json
from typing import Any

from busmon.commands.acceptances import TIMEOUT, Refused
from busmon.commands.endpoint import Endpoint, NoAnswer, post
from busmon.text import printable


def forget(endpoint: Endpoint, owner: str) -> int:
    """Return from how many sets of keys the name was taken; raises NoAnswer and Refused."""
    sets, finished = 0, False
    while not finished:
        status, body = post(endpoint, "/v1/forget", {"owner": owner}, TIMEOUT)
        if status == 401:
            raise Refused("it knows no operator with this name and password")
        if status != 200:
            text = body.decode(errors="replace").strip()
            raise Refused(f"it answers with status {status}: {printable(text[:500])}")
        try:
            answer: Any = json.loads(body)
            sets, finished = sets + int(answer["sets"]), bool(answer["finished"])
        except (ArithmeticError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise NoAnswer("the answer is not that of a busmon", asked=True) from error
    return sets
