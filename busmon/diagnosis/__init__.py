"""Whose fault it is that messages do not get through."""
