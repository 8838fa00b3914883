"""Made-up traffic through the real way of a message."""
