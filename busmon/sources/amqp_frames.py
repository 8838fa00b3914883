"""Frames of AMQP, also those whose headers pika can't read.

On a time past the year 9999, or lists a thousand deep, pika raises while it decodes: the
consumer loses its connection, the broker brings the message again, and so for ever.
Fedora's listener can't help it; busmon counts it as what ends the listener, and goes on.
"""

import struct
from typing import Any

from pika.frame import Header, decode_frame
from pika.spec import FRAME_END_SIZE, FRAME_HEADER, FRAME_HEADER_SIZE, BasicProperties

FLAGS = FRAME_HEADER_SIZE + 12  # after class, weight and the body's size

# {"fedora_messaging_schema": {}}, which get_message() dies of, too.
NAME = b"fedora_messaging_schema"
UNREADABLE = struct.pack(f">LB{len(NAME)}scL", len(NAME) + 6, len(NAME), NAME, b"F", 0)


def read_frame(buffer: bytes) -> tuple[int, Any]:
    """Return the length of the first frame and what it says; 0 and None while it is not whole.

    Headers that pika can't read are replaced by UNREADABLE. Raises whatever pika does on
    anything else that is not AMQP.
    """
    try:
        found: tuple[int, Any] = decode_frame(buffer)
    except Exception:
        if buffer[0] != FRAME_HEADER:
            raise
        return _with_other_headers(buffer)
    return found


def _with_other_headers(buffer: bytes) -> tuple[int, Header]:
    _type, channel, size, body_size, flags = struct.unpack_from(">BHL4xQH", buffer)
    start = FLAGS + 2
    for flag in (BasicProperties.FLAG_CONTENT_TYPE, BasicProperties.FLAG_CONTENT_ENCODING):
        start += 1 + buffer[start] if flags & flag else 0
    (table_size,) = struct.unpack_from(">L", buffer, start)
    properties = BasicProperties()
    properties.decode(buffer[FLAGS:start] + UNREADABLE + buffer[start + 4 + table_size :])
    return FRAME_HEADER_SIZE + size + FRAME_END_SIZE, Header(channel, body_size, properties)
