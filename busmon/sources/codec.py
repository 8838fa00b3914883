"""The codec that a publisher names for a body, and what it may cost.

`bytes.decode` would look for any name that it does not know yet, and keep it for ever, and so
each of the many ways to write a name that it does know.
"""

import encodings
import pkgutil
import re
from encodings.aliases import aliases

# Python's only codecs for text that take time in the square of the size: 32 KiB take 0.2 s.
QUADRATIC = frozenset({"punycode", "idna"})
MAX_QUADRATIC_BYTES = 32 * 1024

_MODULES = frozenset(module.name for module in pkgutil.iter_modules(encodings.__path__))


class TooCostly(Exception):
    """To read the body would take too much time or memory."""


def decode(body: bytes, encoding: str) -> str:
    """Return what `body.decode(encoding)` does, and raise what it raises; or raise TooCostly."""
    if encoding == "utf-8":  # as nearly always
        return body.decode()
    name = _normalized(encoding)
    if not body:
        return ""  # Python does not look for the codec then
    for alias in (name, name.replace(".", "_")):
        name = aliases.get(alias, name)
    if name not in _MODULES:
        raise LookupError("unknown encoding")
    if name in QUADRATIC and len(body) > MAX_QUADRATIC_BYTES:
        raise TooCostly
    return body.decode(name)


def _normalized(encoding: str) -> str:
    """Return a name as Python's search makes it of the name's bytes."""
    encoded = encoding.encode()
    if 0 in encoded:
        raise ValueError("embedded null character")
    return b"_".join(re.findall(rb"[a-z0-9.]+", encoded.lower())).decode()
