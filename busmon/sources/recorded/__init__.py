"""Recorded messages in place of a bus."""
