"""What JSON takes in memory is known before it is read."""

import json
import tracemalloc
from contextlib import suppress
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from busmon.sources import json_body
from tests.support.fedora_strategies import json_values


@settings(max_examples=200)
@given(json_values, st.sampled_from(["", "\U0001f600", r"\ud83d\ude00", r"\n"]), st.booleans())
@example([[[[[[[[[[[[]]]]]]]]]]]], "", False)
@example({"": 0}, "", False)
@example({"ab": "cd"}, "", False)
@example(["ab", "cd"], "", False)
@example("\u0100", "", False)
@example(["\U0001f600"], "", False)
@example(1000, "", False)
@example(0.1, "", True)
def test_json_takes_no_more_memory_than_is_expected(value: Any, character: str, nan: bool) -> None:
    """By json if there is NaN in it, else by msgspec."""
    item = json.dumps(value, ensure_ascii=False)
    items = ",".join([item] * (20_000 // len(item)))
    keys = ",".join(f'"{number}{character}":0' for number in range(100))
    text = f'[{items},"{character * 1000}",{{{keys}}},{"NaN" if nan else 0}]'
    tracemalloc.start()
    try:
        with suppress(ValueError):
            json_body.load_json(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= json_body.parsed_bytes(text) + 4096


def test_a_dense_body_of_more_than_a_megabyte_is_read() -> None:
    record = {"name": "hello", "path": "packages/hello.spec", "lines": 12, "changed": True}
    body = json.dumps({"files": [record] * 16_000}).encode()
    assert len(body) > 1.2 * 1024**2
    assert json_body.parse(body)[1] is None
