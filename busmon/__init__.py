"""busmon counts the messages of a message bus, and by whether its listener handles them."""

__version__ = "0.2.0"
