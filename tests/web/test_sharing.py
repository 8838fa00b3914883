"""Expensive answers that many ask for at once."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from busmon.web.http import Response
from busmon.web.sharing import MAX_REQUESTS, Busy, Sharing
from tests.support.brokers import wait_until


def test_those_who_wait_for_a_rendering_that_fails_share_its_error() -> None:
    sharing, go_on = Sharing(), threading.Event()
    renderings: list[None] = []

    def fail() -> Response:
        renderings.append(None)
        go_on.wait(60)
        raise RuntimeError("a bug")

    with ThreadPoolExecutor(MAX_REQUESTS + 1) as clients:
        asked = [clients.submit(sharing.respond, "/", fail) for _ in range(MAX_REQUESTS + 1)]
        wait_until(lambda: any(each.done() for each in asked), what="one more than may wait")
        go_on.set()
    assert Counter(type(each.exception()) for each in asked) == {
        RuntimeError: MAX_REQUESTS,
        Busy: 1,
    }
    assert len(renderings) <= 2
    with pytest.raises(RuntimeError, match="a bug"):
        sharing.respond("/", fail)
    assert len(renderings) <= 3
