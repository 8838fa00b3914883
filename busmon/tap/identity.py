"""What identifies a message: the same text in the tap and in busmon, which imports it."""

from hashlib import blake2b

MAX_CHARACTERS = 255  # of an id or a topic in a report


def message_id(value: object) -> str:
    """Return the id of a message as text; a digest if it is too long, empty if there is none."""
    text = decode(value)
    if len(text) <= MAX_CHARACTERS:
        return text
    return f"digest:{blake2b(text.encode(errors='surrogatepass'), digest_size=32).hexdigest()}"


def decode(value: object) -> str:
    """Return a short string of AMQP as text. pika leaves one that is not UTF-8 as bytes."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return "" if value is None else str(value)
