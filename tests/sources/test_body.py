"""A body that arrives in pieces takes no more memory than its beginning."""

import tracemalloc
from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from busmon.sources.body import BodyBuffer
from busmon.sources.json_body import MAX_BODY_BYTES


@given(st.lists(st.binary(max_size=5)))
def test_a_body_is_the_pieces_in_their_order(pieces: list[bytes]) -> None:
    buffer = BodyBuffer()
    for piece in pieces:
        buffer.add(piece)
    assert (buffer.kept(), buffer.size) == (b"".join(pieces), sum(map(len, pieces)))


def test_of_a_body_that_is_too_large_a_digest_of_the_rest_is_kept() -> None:
    body = b"x" * (MAX_BODY_BYTES - 1) + b"yz"
    buffer = BodyBuffer()
    buffer.add(body[:1000])
    buffer.add(body[1000:])
    assert buffer.kept() == body[:-1] + blake2b(b"z", digest_size=16).digest()
    assert buffer.size == len(body)


def test_a_body_in_many_small_pieces_takes_no_multiple_of_its_size() -> None:
    """A broker decides how large the frames of AMQP are."""
    buffer = BodyBuffer()
    piece = memoryview(bytes(range(256)) * 400)
    tracemalloc.start()
    try:
        for start in range(0, len(piece), 2):
            buffer.add(bytes(piece[start : start + 2]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(piece)
