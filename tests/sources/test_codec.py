"""A codec is found as Python finds it, and at a bounded cost."""

import encodings
import pkgutil
import warnings
from collections.abc import Callable
from encodings.aliases import aliases
from functools import partial

import pytest

from busmon.sources import codec
from tests.support.cpu import cpu_time_at_most

MODULES = sorted(module.name for module in pkgutil.iter_modules(encodings.__path__))
NAMES = {*aliases, *aliases.values(), *MODULES}
BODIES = [b"", b'{"a": 1}', b"\xff\xfe", b"\0{\0}", b"xn--a-1.b"]


def spelt(name: str) -> list[str]:
    """Ways to write a name that Python takes for the same."""
    return [
        name,
        name.upper(),
        name.replace("_", "--!"),
        name.replace("_", " "),
        f"-{name}",
        f"{name}\u00aa1",
    ]


def outcome(decode: Callable[[], str]) -> object:
    try:
        return decode()
    except Exception as error:  # noqa: BLE001 - all of them are compared
        return UnicodeDecodeError if isinstance(error, UnicodeDecodeError) else Exception


def test_a_body_is_decoded_as_python_decodes_it() -> None:
    names = {*NAMES, "", "a.b", "no such", "a\0", "x" * 300, "l\u00aa1", "\u212aoi8_r", "\ud800"}
    with warnings.catch_warnings(action="ignore"):  # of escapes that are none
        different = [
            (spelling, body)
            for name in sorted(names)
            for spelling in spelt(name)
            for body in BODIES
            if outcome(partial(body.decode, spelling))
            != outcome(partial(codec.decode, body, spelling))
        ]
    assert different == []


def test_names_that_publishers_invent_are_not_kept() -> None:
    def kept() -> int:
        return len(encodings._cache)  # noqa: SLF001 - it is the fault

    outcome(partial(codec.decode, b"a", "utf-8"))
    before = kept()
    for number in range(1000):
        outcome(partial(codec.decode, b"a", f"invented-{number}"))
        outcome(partial(codec.decode, b"a", f"utf{'-' * number}8"))
    assert kept() == before


@pytest.mark.parametrize(
    "piece", [b"x", b"-9", b"xn--b.", b"\xff", b"+AGE-", rb"\u0041", b"\x1b$B!!"]
)
def test_no_codec_takes_half_a_second_for_two_mebibytes(piece: bytes) -> None:
    for name in MODULES:
        for size in (codec.MAX_QUADRATIC_BYTES, 2 * 1024**2):
            body = b"xn--" + piece * (size // len(piece) - 4)
            with warnings.catch_warnings(action="ignore"), cpu_time_at_most(0.5, name):
                outcome(partial(codec.decode, body, name))
