"""Text of others, made fit to be shown."""


def printable(text: str) -> str:
    """Return text that came over a bus as one line that orders no terminal about."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
