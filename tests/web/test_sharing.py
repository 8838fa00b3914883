"""Expensive answers that many ask for at once."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import pytest

from busmon.web.http import Response
from busmon.web.sharing import MAX_PAUSE, MAX_REQUESTS, Busy, Sharing
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


def test_after_an_answer_that_took_the_cpu_the_next_one_waits() -> None:
    slept: list[float] = []
    sharing = Sharing(19.0, slept.append, lambda: 100.0)

    def answer() -> Response:
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        return Response(HTTPStatus.OK, b"")

    for path in ("/", "/gaps"):
        sharing.respond(path, answer)
    assert slept[0] == 0
    assert 19 * 0.02 <= slept[1] <= MAX_PAUSE
