"""The URLs of the pages, also behind a proxy that serves them below a path of its own."""

from urllib.parse import quote, urlencode, urlsplit


class Urls:
    """Makes the links of the pages, relative to the host; `public_url` is that of `[web]`."""

    def __init__(self, public_url: str | None) -> None:
        self._prefix = urlsplit(public_url or "").path.rstrip("/")

    def page(self, *segments: str, **query: object) -> str:
        """Return the link to a page: `page("topics", bus, topic, window="7d")`.

        Arguments that are None are left out.
        """
        path = "/".join(quote(segment, safe="") for segment in segments)
        given = {name: value for name, value in query.items() if value is not None}
        return f"{self._prefix}/{path}{'?' if given else ''}{urlencode(given)}"

    def own(self, path: str) -> str:
        """Return a path as it is without the proxy, whether or not the proxy removed its own."""
        if self._prefix and f"{path}/".startswith(f"{self._prefix}/"):
            return path.removeprefix(self._prefix) or "/"
        return path
