"""Bodies that cost much, each as large as busmon still reads it."""

from collections.abc import Callable

from busmon.sources.json_body import MAX_BODY_BYTES, MAX_PARSED_BYTES, parsed_bytes

Shape = Callable[[int], str]


def listed(item: str) -> Shape:
    """A list of as many of it, in an object."""
    return lambda count: '{"a":[' + ",".join([item] * count) + "]}"


def deep(opening: str, closing: str, depth: int) -> Shape:
    return listed(opening * depth + "1" + closing * depth)


def with_emoji(shape: Shape) -> Shape:
    """With one character that makes the text take four bytes for each."""
    return lambda count: shape(count)[:-1] + ',"\U0001f600":0}'


def keys(name: str) -> Shape:
    return lambda count: "{" + ",".join(f'"{n}{name}":0' for n in range(count)) + "}"


def text(character: str) -> Shape:
    return lambda count: '{"a":"' + character * count + '"}'


SHAPES: dict[str, Shape] = {
    "empty objects": listed("{}"),
    "objects": listed('{"":0}'),
    "objects with six keys": listed('{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0}'),
    "empty lists": listed("[]"),
    "deep lists": deep("[", "]", 100),
    "deeper lists": deep("[", "]", 900),
    "deep objects": deep('{"":', "}", 300),
    "keys": keys(""),
    "keys that are not ASCII": keys("é"),
    "numbers": listed("1000"),
    "large numbers": listed("9" * 4000),
    "slow numbers": listed("1e308"),
    "numbers with a fraction": listed("0.1"),
    "not a number": listed("NaN"),
    "texts": listed('"ab"'),
    "texts that are not ASCII": listed('"é"'),
    "emojis": listed('"\U0001f600"'),
    "escaped emojis": listed(r'"\ud83d\ude00"'),
    "a long text": text("x"),
    "a long text of escapes": text(r"\u00e9"),
}
SHAPES |= {f"{name}, and an emoji": with_emoji(shape) for name, shape in SHAPES.items()}
SHAPES["lists in a list"] = lambda count: f"[{SHAPES['deeper lists'](count)}]"


def largest(shape: Shape) -> bytes:
    """Return the largest body of a shape that busmon reads."""

    def fits(count: int) -> bool:
        body = shape(count)
        return len(body.encode()) <= MAX_BODY_BYTES and parsed_bytes(body) <= MAX_PARSED_BYTES

    item = len(shape(2)) - len(shape(1))
    least, most = 1, MAX_BODY_BYTES // item + 1
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(middle) else (least, middle)
    return shape(least).encode()
