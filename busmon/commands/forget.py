"""`busmon forget`: has the running service, which alone writes to its ledger, forget an owner."""

import json
from typing import Any

from busmon.commands.endpoint import FOREIGN, Endpoint, NoAnswer, post
from busmon.commands.service import UNREADABLE


def forget(endpoint: Endpoint, owner: str) -> int:
    """Return from how many sets of keys the name was taken; raises NoAnswer and Refused."""
    sets, finished = 0, False
    while not finished:
        body = post(endpoint, "/v1/forget", {"owner": owner})
        try:
            answer: Any = json.loads(body)
            sets, finished = sets + int(answer["sets"]), bool(answer["finished"])
        except UNREADABLE as error:
            raise NoAnswer(FOREIGN, asked=True) from error
    return sets
