"""The files that a page loads: the style and the script, under URLs that change with them."""

from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files

from busmon.web.http import Response

FOLDER = "static"
TYPES = {"style.css": "text/css; charset=utf-8", "refresh.js": "text/javascript; charset=utf-8"}
CACHED = ("Cache-Control", "private, max-age=31536000, immutable")  # a change has another URL


class Files:
    """The files of web/static. They are small, and stay in memory."""

    def __init__(self) -> None:
        folder = files("busmon.web") / FOLDER
        contents = {name: (folder / name).read_bytes() for name in TYPES}
        digests = {name: sha256(content).hexdigest()[:16] for name, content in contents.items()}
        self._names = {(digests[name], name): content for name, content in contents.items()}
        self.digests = digests

    def answer(self, rest: str) -> Response | None:
        """Return the file for what follows /static/, `DIGEST/NAME`; None if there is none."""
        digest, _, name = rest.partition("/")
        content = self._names.get((digest, name))
        if content is None:
            return None
        return Response(HTTPStatus.OK, content, TYPES[name], (CACHED,))
